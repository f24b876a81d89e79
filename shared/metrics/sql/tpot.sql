-- tpot: time per output token, ms: p50, p90, p95, p99, p99.9 with 95% intervals
-- formula: (last chunk - first chunk) / (output tokens - 1), per request; failed requests rank last
-- needs: chunk_ns, chunk_tokens
-- source: MLPerf Inference TPOT
select
    percentile(sorted, 0.5) as tpot_p50_ms,
    percentile_low(sorted, 0.5) as tpot_p50_ms_low,
    percentile_high(sorted, 0.5) as tpot_p50_ms_high,
    percentile(sorted, 0.9) as tpot_p90_ms,
    percentile_low(sorted, 0.9) as tpot_p90_ms_low,
    percentile_high(sorted, 0.9) as tpot_p90_ms_high,
    percentile(sorted, 0.95) as tpot_p95_ms,
    percentile_low(sorted, 0.95) as tpot_p95_ms_low,
    percentile_high(sorted, 0.95) as tpot_p95_ms_high,
    percentile(sorted, 0.99) as tpot_p99_ms,
    percentile_low(sorted, 0.99) as tpot_p99_ms_low,
    percentile_high(sorted, 0.99) as tpot_p99_ms_high,
    percentile(sorted, 0.999) as tpot_p999_ms,
    percentile_low(sorted, 0.999) as tpot_p999_ms_low,
    percentile_high(sorted, 0.999) as tpot_p999_ms_high
from (
    select list_sort(list(tpot_ms)) as sorted
    from offered, streaming
    where streams and tpot_ms is not null
) as ranking;
