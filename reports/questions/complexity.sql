-- How much is there to run each stack? Counted in its folder, and measured in its runs; and what it serves at most, in all
-- usable trials and in VALID ones alone.
with starts as (
    select stacks.* exclude (device, runtime), runs.machine_name, runs.device, runs.runtime
    from stacks
    inner join runs using (run_id)
    where stacks.group_id = $group and run_id in (select run_id from counted)
), measured as (
    unpivot (
        select
            stack, machine_name, device, runtime,
            max(install_mb)::double as "install size, MB",
            median(ready_s)::double as "time to ready, s",
            median(processes)::double as processes
        from starts
        group by all
    )
    on "install size, MB", "time to ready, s", processes
    into name component value value
), best as (
    select
        stack, machine_name, device, model, weights, precision, runtime, generator,
        max(throughput_per_s) as throughput_per_s,
        max(throughput_per_s) filter (where verdict = 'VALID') as throughput_valid_per_s,
        any_value(unit) as unit
    from shown
    where group_id = $group
    group by stack, machine_name, device, model, weights, precision, runtime, generator
), components as (
    select best.*, component, value
    from complexity
    inner join best using (stack)
    where group_id = $group
    union all by name
    select best.*, component, value
    from measured
    inner join best using (stack, machine_name, device, runtime)
)
select
    components.*, coalesce(title, stack) as title,
    value / max(value) over (
        partition by component, machine_name, device, model, weights, precision, runtime, generator
    ) as of_largest
from components
left join (select * from stack_titles where group_id = $group) as titles using (stack)
where value is not null
order by component, stack;
