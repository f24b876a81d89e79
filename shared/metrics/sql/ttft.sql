-- ttft: time to first token, ms: p50, p90, p95, p99, p99.9 with 95% intervals
-- formula: first chunk that carries text - intended start; failed requests rank last
-- needs: chunk_ns (text-carrying chunks only)
-- source: MLPerf Inference, server scenario TTFT, from the scheduled start
select
    percentile(sorted, 0.5) as ttft_p50_ms,
    percentile_low(sorted, 0.5) as ttft_p50_ms_low,
    percentile_high(sorted, 0.5) as ttft_p50_ms_high,
    percentile(sorted, 0.9) as ttft_p90_ms,
    percentile_low(sorted, 0.9) as ttft_p90_ms_low,
    percentile_high(sorted, 0.9) as ttft_p90_ms_high,
    percentile(sorted, 0.95) as ttft_p95_ms,
    percentile_low(sorted, 0.95) as ttft_p95_ms_low,
    percentile_high(sorted, 0.95) as ttft_p95_ms_high,
    percentile(sorted, 0.99) as ttft_p99_ms,
    percentile_low(sorted, 0.99) as ttft_p99_ms_low,
    percentile_high(sorted, 0.99) as ttft_p99_ms_high,
    percentile(sorted, 0.999) as ttft_p999_ms,
    percentile_low(sorted, 0.999) as ttft_p999_ms_low,
    percentile_high(sorted, 0.999) as ttft_p999_ms_high
from (
    select list_sort(list(ttft_ms)) as sorted
    from offered, streaming
    where streams
) as ranking;
