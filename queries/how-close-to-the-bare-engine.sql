-- How much of the engine's speed does each server keep?
-- 1 is the same model on the same CPUs in a bare process; above 1.02 the engine's own measurement is at fault.
select
    group_id, machine_name, model, weights, precision, device, stack, interface,
    max_by(load, throughput_per_s) as best_load,
    max(throughput_per_s) as best_throughput_per_s,
    max(serving_efficiency) as serving_efficiency,
    bool_or(serving_efficiency > 1.02) as engine_at_fault
from latest
where serving_efficiency is not null
group by group_id, machine_name, model, weights, precision, device, stack, interface
order by group_id, machine_name, model, serving_efficiency desc;
