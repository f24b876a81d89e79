-- itl: inter-token latency, ms: p50, p90, p95, p99, p99.9 with 95% intervals
-- formula: each gap between successive text-carrying chunks, pooled over requests; a request that failed after its
--   first chunk adds one infinite gap, the chunk that never came
-- needs: chunk_ns (text-carrying chunks only)
-- source: vLLM's and genai-perf's per-gap ITL, not the per-request mean
select
    percentile(sorted, 0.5) as itl_p50_ms,
    percentile_low(sorted, 0.5) as itl_p50_ms_low,
    percentile_high(sorted, 0.5) as itl_p50_ms_high,
    percentile(sorted, 0.9) as itl_p90_ms,
    percentile_low(sorted, 0.9) as itl_p90_ms_low,
    percentile_high(sorted, 0.9) as itl_p90_ms_high,
    percentile(sorted, 0.95) as itl_p95_ms,
    percentile_low(sorted, 0.95) as itl_p95_ms_low,
    percentile_high(sorted, 0.95) as itl_p95_ms_high,
    percentile(sorted, 0.99) as itl_p99_ms,
    percentile_low(sorted, 0.99) as itl_p99_ms_low,
    percentile_high(sorted, 0.99) as itl_p99_ms_high,
    percentile(sorted, 0.999) as itl_p999_ms,
    percentile_low(sorted, 0.999) as itl_p999_ms_low,
    percentile_high(sorted, 0.999) as itl_p999_ms_high
from (
    select list_sort(list(gap_ms)) as sorted
    from (
        select
            unnest(list_transform(range(2, len(chunk_ns) + 1), lambda i: (chunk_ns[i] - chunk_ns[i - 1]) / 1e6))
                as gap_ms
        from offered
        union all
        select 'infinity'::double as gap_ms
        from offered
        where not completed and len(chunk_ns) > 0
    ) as gaps
) as ranking;
