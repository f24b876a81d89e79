-- Which stack does the work with the least hardware, where the SLO holds?
-- Server CPU (and device energy, where it was measured) per 1,000 units: any price per core or kWh is a factor on it.
-- slo_blocks: in how many blocks the SLO held. A stack that misses it in one is not listed.
select
    group_id, machine_name, model, weights, precision, device, interface, load, stack,
    avg(cpu_cores_used / throughput_per_s * 1000) as server_cpu_s_per_1000,
    avg(energy_j_per_unit) as energy_kj_per_1000,
    avg(throughput_per_s) as throughput_per_s,
    any_value(unit) as unit,
    count(*) filter (where slo_met) as slo_blocks
from latest
where slo_met is not null
group by group_id, machine_name, model, weights, precision, device, interface, load, stack
having bool_and(slo_met)
order by group_id, machine_name, model, load, server_cpu_s_per_1000;
