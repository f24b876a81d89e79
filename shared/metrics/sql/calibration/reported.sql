-- reported: the latencies that a tool gives, ms, of the requests it started in the window
-- formula: last byte - the start that the tool knows (k6: intended; others: their own send); answered requests only,
--   as these tools have it
-- needs: requests, context (window_start_ns, window_end_ns)
-- source: each tool's own summary
with answered as (
    select
        ok,
        (done_ns - intended_ns) / 1e6 as latency_ms
    from requests, context
    where intended_ns >= window_start_ns and intended_ns < window_end_ns
),

ranking as (
    select
        count(*) filter (ok) as requests,
        count(*) filter (not ok) as errors,
        list_sort(list(latency_ms) filter (ok)) as sorted
    from answered
)

select
    requests,
    errors,
    percentile(sorted, 0.5) as reported_p50_ms,
    percentile(sorted, 0.95) as reported_p95_ms,
    percentile(sorted, 0.99) as reported_p99_ms,
    sorted[-1] as reported_max_ms
from ranking;
