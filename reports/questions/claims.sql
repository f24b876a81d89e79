-- What did the study's earlier tables say, and what was measured here? Other hardware: the two are not comparable. Beside each
-- claim stands the best of all loads, and of which load, model and precision it is.
with long as (
    unpivot (
        select
            stack, model, precision, weights,
            load_title(load_kind, arrivals, users, rate_per_s, client_batch, payloads) as load_title,
            latency_p95_ms, latency_p99_ms, ttft_p50_ms, itl_p50_ms, throughput_per_s, gpu_utilization,
            memory_peak_mb, memory_mb_per_1000, batch_efficiency,
            if(load_kind = 'search_users', users, null)::double as users
        from shown
        where group_id = $group
    )
    on * exclude (stack, model, precision, weights, load_title)
    into name name value value
), best as (
    select *
    from long
    qualify row_number() over (
        partition by stack, name
        order by
            if(name in ('throughput_per_s', 'gpu_utilization', 'batch_efficiency', 'users'), -value, value),
            model, precision, load_title
    ) = 1
)
select
    claims.part, claims.said, claims.stack, claims.figure, claims.claimed, claims.column_name,
    best.value as measured_best, best.load_title, best.model, best.precision, best.weights
from claims
left join best on claims.stack = best.stack and claims.column_name = best.name
where claims.group_id = $group
order by number;
