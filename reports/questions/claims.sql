-- What did the study's earlier tables say, and what was measured here? Other hardware: the two are not comparable.
with best as (
    select stack, name, if(name in ('throughput_per_s', 'gpu_utilization', 'batch_efficiency'), max(value), min(value)) as value
    from (
        unpivot (
            select
                stack, latency_p95_ms, latency_p99_ms, ttft_p50_ms, itl_p50_ms, throughput_per_s, gpu_utilization,
                memory_peak_mb, batch_efficiency
            from shown
            where group_id = $group
        )
        on * exclude (stack)
        into name name value value
    )
    group by stack, name
)
select claims.part, claims.said, claims.stack, claims.figure, claims.claimed, claims.column_name, best.value as measured_best
from claims
left join best on claims.stack = best.stack and claims.column_name = best.name
where claims.group_id = $group
order by number;
