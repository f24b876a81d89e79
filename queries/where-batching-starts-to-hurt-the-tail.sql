-- Where does batching start to hurt the tail?
-- By load: the batch that the server really executed, and how far p95 and p99 lie above the median. Read it downwards: throughput
-- stops growing while the tail still does. Null: too few requests for that percentile, or the server does not tell its batches.
select
    group_id, machine_name, model, weights, stack, interface, client_batch, load, users, avg(rate_per_s) as rate_per_s,
    avg(batch_mean) as batch_mean,
    avg(throughput_per_s) as throughput_per_s,
    avg(latency_p50_ms) as p50_ms,
    avg(latency_p95_ms) / avg(latency_p50_ms) as p95_over_p50,
    avg(latency_p99_ms) / avg(latency_p50_ms) as p99_over_p50
from latest
group by group_id, machine_name, model, weights, stack, interface, client_batch, load, users
order by group_id, machine_name, model, stack, interface, client_batch, users, rate_per_s;
