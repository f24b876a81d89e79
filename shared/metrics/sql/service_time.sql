-- service_time: service time, ms: p50, p90, p95, p99, p99.9 with 95% intervals
-- formula: last response byte - actual send; failed requests rank last
-- needs: sent_ns, done_ns, ok
-- source: k6 http_req_duration, the figure most tools call latency
select
    percentile(sorted, 0.5) as service_time_p50_ms,
    percentile_low(sorted, 0.5) as service_time_p50_ms_low,
    percentile_high(sorted, 0.5) as service_time_p50_ms_high,
    percentile(sorted, 0.9) as service_time_p90_ms,
    percentile_low(sorted, 0.9) as service_time_p90_ms_low,
    percentile_high(sorted, 0.9) as service_time_p90_ms_high,
    percentile(sorted, 0.95) as service_time_p95_ms,
    percentile_low(sorted, 0.95) as service_time_p95_ms_low,
    percentile_high(sorted, 0.95) as service_time_p95_ms_high,
    percentile(sorted, 0.99) as service_time_p99_ms,
    percentile_low(sorted, 0.99) as service_time_p99_ms_low,
    percentile_high(sorted, 0.99) as service_time_p99_ms_high,
    percentile(sorted, 0.999) as service_time_p999_ms,
    percentile_low(sorted, 0.999) as service_time_p999_ms_low,
    percentile_high(sorted, 0.999) as service_time_p999_ms_high
from (
    select list_sort(list(service_time_ms)) as sorted
    from offered
) as ranking;
