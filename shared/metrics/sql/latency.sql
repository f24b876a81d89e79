-- latency: latency, ms: p50, p90, p95, p99, p99.9 with 95% intervals, mean and maximum of the completed
-- formula: last response byte - intended start; failed requests rank last
-- needs: intended_ns, done_ns, ok
-- source: this study: no coordinated omission; k6's own http_req_duration starts at the send and omits the wait
select
    percentile(sorted, 0.5) as latency_p50_ms,
    percentile_low(sorted, 0.5) as latency_p50_ms_low,
    percentile_high(sorted, 0.5) as latency_p50_ms_high,
    percentile(sorted, 0.9) as latency_p90_ms,
    percentile_low(sorted, 0.9) as latency_p90_ms_low,
    percentile_high(sorted, 0.9) as latency_p90_ms_high,
    percentile(sorted, 0.95) as latency_p95_ms,
    percentile_low(sorted, 0.95) as latency_p95_ms_low,
    percentile_high(sorted, 0.95) as latency_p95_ms_high,
    percentile(sorted, 0.99) as latency_p99_ms,
    percentile_low(sorted, 0.99) as latency_p99_ms_low,
    percentile_high(sorted, 0.99) as latency_p99_ms_high,
    percentile(sorted, 0.999) as latency_p999_ms,
    percentile_low(sorted, 0.999) as latency_p999_ms_low,
    percentile_high(sorted, 0.999) as latency_p999_ms_high,
    mean as latency_mean_ms,
    max as latency_max_ms
from (
    select
        list_sort(list(latency_ms)) as sorted,
        avg(latency_ms) filter (where completed) as mean,
        max(latency_ms) filter (where completed) as max
    from offered
) as ranking;
