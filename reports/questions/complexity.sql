-- How much is there to run each stack? Counted in its folder, and measured in its runs; and what it serves at most, in all
-- usable trials and in VALID ones alone.
with measured as (
    select stack, 'install size, MB' as component, max(install_mb) as value
    from stacks
    where group_id = $group
    group by stack
    union all
    select stack, 'time to ready, s', median(ready_s)
    from stacks
    where group_id = $group and run_id in (select run_id from counted)
    group by stack
    union all
    select stack, 'processes', median(processes)
    from stacks
    where group_id = $group and run_id in (select run_id from counted)
    group by stack
), best as (
    select stack, machine_name, device, model, weights, precision, max(throughput_per_s) as throughput_per_s,
        max(throughput_per_s) filter (where verdict = 'VALID') as throughput_valid_per_s,
        any_value(unit) as unit
    from shown
    where group_id = $group
    group by stack, machine_name, device, model, weights, precision
), components as (
    select stack, component, value
    from complexity
    where group_id = $group
    union all
    from measured
)
select
    components.*, coalesce(title, stack) as title, best.* exclude (stack),
    value / max(value) over (partition by component, machine_name, device, model, weights, precision) as of_largest
from components
inner join best using (stack)
left join (select * from stack_titles where group_id = $group) as titles using (stack)
where value is not null
order by component, stack;
