-- What changed between a run and the one before it?
-- The same experiment in consecutive runs on one machine: an update of a server, a driver or a stack shows up here. With
-- intervals: make compare A=<run> B=<run>.
with means as (
    select
        machine_name, started_at, run_id, group_id, stack, server_version, interface, model, trials.weights,
        precision, trials.device, load, avg(throughput_per_s) as throughput_per_s, avg(latency_p50_ms) as p50_ms
    from trials
    inner join runs using (run_id)
    where verdict <> 'INVALID'
    group by all
)
select
    machine_name, group_id, stack, interface, model, weights, load, run_id,
    lag(run_id) over experiment as run_before,
    lag(server_version) over experiment || ' → ' || server_version as server_version,
    throughput_per_s / lag(throughput_per_s) over experiment as throughput_ratio,
    p50_ms / lag(p50_ms) over experiment as p50_ratio
from means
window experiment as (
    partition by machine_name, group_id, stack, interface, model, weights, precision, device, load
    order by started_at
)
qualify run_before is not null
order by started_at desc, group_id, stack, interface, load;
