-- What was each stack asked, what became of it, and did it meet the limit? One row a stack, workload and setup.
with one as (
    select
        machine_name, device, model, weights, precision, runtime, generator, interface, load, client_batch, stack,
        any_value(load_kind) as load_kind,
        any_value(arrivals) as arrivals,
        any_value(payloads) as payloads,
        any_value(users) as users,
        avg(rate_per_s) as rate_per_s,
        any_value(unit) as unit,
        count(*) filter (where verdict <> 'INVALID') as usable,
        count(*) as planned,
        list_sort(list_distinct(flatten(list(reasons) filter (where verdict = 'INVALID')))) as why_invalid,
        bool_and(slo_met) filter (where verdict <> 'INVALID') as slo_held,
        avg(goodput) filter (where verdict <> 'INVALID') as goodput,
        list_sort(list(distinct run_id)) as run_ids,
        any_value(slo_of(runs.groups, $group)) as slo
    from counted
    inner join (select run_id, groups from runs) as runs using (run_id)
    where group_id = $group
    group by
        machine_name, device, model, weights, precision, runtime, generator, interface, load, client_batch, stack
)
select
    one.*,
    coalesce(title, stack) as stack_title,
    load_title(load_kind, arrivals, users, rate_per_s, client_batch, payloads) as load_title,
    count(*) over (partition by machine_name, device, model, weights, precision, runtime, generator, load) as width,
    count(*) over (partition by machine_name, device, model, weights, precision, runtime, generator, interface) as reach
from one
left join (select * from stack_titles where group_id = $group) using (stack)
order by
    machine_name, device, model, weights, precision, runtime, generator,
    width desc, load_kind = 'open' desc, client_batch, load, reach desc, interface desc, stack;
