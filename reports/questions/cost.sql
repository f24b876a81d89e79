-- What do a million answers cost? The machine's price by the hour over the most that a stack served on it; null: no price.
with best as (
    select
        shown.machine_name, shown.device, model, shown.weights, precision, stack,
        max(throughput_per_s) as throughput_per_s,
        max_by(load, throughput_per_s) as load,
        any_value(unit) as unit,
        any_value(cpu_model) as cpu_model, any_value(runs.cpus) as cpus, any_value(runs.gpu) as gpu
    from shown
    inner join runs using (run_id)
    where group_id = $group
    group by shown.machine_name, shown.device, model, shown.weights, precision, stack
)
select
    best.* exclude (cpu_model, cpus, gpu), coalesce(title, stack) as title, usd_per_hour, as_of, source,
    usd_per_hour / 3600 / throughput_per_s * 1e6 as usd_per_million
from best
left join (select * from stack_titles where group_id = $group) as titles using (stack)
left join prices
    on
        best.cpu_model = prices.cpu_model
        and (prices.cpus is null or prices.cpus = best.cpus)
        and (prices.gpu is null or prices.gpu = best.gpu)
qualify row_number() over (
    partition by best.machine_name, best.device, model, weights, precision, stack
    order by prices.gpu is not null desc, prices.cpus is not null desc, as_of desc
) = 1
order by best.machine_name, best.device, model, weights, precision, stack;
