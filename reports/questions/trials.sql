-- Every trial behind the page, with its verdict and why.
select
    machine_name, device, model, weights, precision, runtime, generator, stack, interface, load, block, verdict,
    array_to_string(reasons, ', ') as reasons, detail, throughput_per_s, unit, goodput, latency_p50_ms, latency_p95_ms,
    latency_p99_ms, ttft_p50_ms, ttft_p95_ms, itl_p50_ms, tpot_p50_ms, padding_waste, memory_mb_per_1000, serving_efficiency,
    offered, errors, run_id, trial_id
from counted
where group_id = $group
order by machine_name, device, model, weights, stack, interface, load, block, run_id;
