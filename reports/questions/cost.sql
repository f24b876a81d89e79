-- What do a million answers cost? The machine's price by the hour over the most that a stack served on it; null: no price.
-- `_valid`: over VALID trials alone.
with best as (
    select
        shown.machine_name, shown.device, model, shown.weights, precision, shown.runtime, generator, stack,
        max(throughput_per_s) as throughput_per_s,
        max(throughput_per_s) filter (where verdict = 'VALID') as throughput_valid_per_s,
        max_by(load, throughput_per_s) as load,
        any_value(unit) as unit,
        any_value(cpu_model) as cpu_model, any_value(runs.cpus) as cpus, any_value(runs.gpu) as gpu,
        any_value(runs.memory_mb) as memory_mb
    from shown
    inner join runs using (run_id)
    where group_id = $group
    group by shown.machine_name, shown.device, model, shown.weights, precision, shown.runtime, generator, stack
)
select
    best.* exclude (cpu_model, cpus, gpu, memory_mb), coalesce(title, stack) as title, usd_per_hour, as_of, source,
    usd_per_hour / 3600 / throughput_per_s * 1e6 as usd_per_million,
    usd_per_hour / 3600 / throughput_valid_per_s * 1e6 as usd_per_million_valid
from best
left join (select * from stack_titles where group_id = $group) as titles using (stack)
left join prices
    on
        starts_with(best.cpu_model, prices.cpu_model)
        and (prices.cpus is null or prices.cpus = best.cpus)
        and (prices.gpu is null or prices.gpu = best.gpu)
        -- A system shows less than is built in: the kernel keeps some.
        and (prices.memory_gib is null or best.memory_mb between 0.85 * 1073.74 * prices.memory_gib and 1073.75 * prices.memory_gib)
qualify row_number() over (
    partition by best.machine_name, best.device, model, weights, precision, best.runtime, best.generator, stack
    order by prices.gpu is not null desc, prices.cpus is not null desc, prices.memory_gib is not null desc, as_of desc
) = 1
order by best.machine_name, best.device, model, weights, precision, best.runtime, best.generator, stack;
