-- The points of the charts: a stack under a load in a setup, its blocks drawn together, with its figures as a list.
-- Positive figures are geometric means with a 95% t-interval over the blocks' logarithms; shares, and figures that can be
-- 0, are plain means with a plain one. Below 3 blocks there is none; of a single trial, its own interval stands.
-- A figure that one of the blocks lacks (too few requests, or it failed) is left out: the others are no fair sample.
-- `verdicts`: each point is drawn from all usable trials, and again from the VALID ones alone.
with both_ways as (
    select *, 'usable' as verdicts
    from shown
    where group_id = $group
    union all
    select *, 'valid' as verdicts
    from shown
    where group_id = $group and verdict = 'VALID'
), points as (
    select
        row_number() over () as point,
        machine_name, device, model, weights, precision, runtime, generator, stack, interface, load, client_batch,
        verdicts,
        any_value(load_kind) as load_kind,
        any_value(arrivals) as arrivals,
        any_value(payloads) as payloads,
        any_value(users) as users,
        avg(rate_per_s) as rate_per_s,
        any_value(run_id) as run_id,
        count(*) as blocks,
        count(*) filter (where verdict = 'DEGRADED') as degraded,
        list(trial_id order by block) as trial_ids
    from both_ways
    group by
        machine_name, device, model, weights, precision, runtime, generator, stack, interface, load, client_batch,
        verdicts
), measured as (
    select
        points.point,
        -- A server that charges a request with its whole batch leaves less than nothing: then it is unknown.
        nullif(greatest(latency_mean_ms - queue_ms - inference_ms, -1), -1) as rest_ms,
        both_ways.* exclude (offered, completed, errors, refused, dropped, wrong_answers, block, seed, users, client_batch, payloads)
    from both_ways
    inner join points
        using (
            machine_name, device, model, weights, precision, runtime, generator, stack, interface, load, client_batch,
            verdicts
        )
), long as (
    unpivot (
        select point, columns(lambda name: regexp_full_match(
            name,
            '((latency|service_time|ttft|itl|tpot)_p[0-9]+_ms(_low|_high)?|latency_mean_ms|throughput_per_s|goodput'
            || '|serving_efficiency|batch_efficiency|batch_mean|queue_ms|inference_ms|rest_ms|cpu_cores_used|memory_peak_mb'
            || '|memory_mb_per_1000|gpu_utilization|gpu_memory_mb|power_w|energy_j_per_unit|recovery_s|tokens_per_s'
            || '|padding_waste|tokens_per_chunk|throughput_per_user_per_s|kv_cache_usage)'
        ))
        from measured
    )
    on * exclude (point)
    into name figure value value
), parted as (
    select
        point,
        regexp_replace(figure, '_(low|high)$', '') as figure,
        regexp_extract(figure, '_(low|high)$', 1) as part,
        value,
        ln(nullif(greatest(value, 0), 0)) as log_value
    from long
), middles as (
    select
        point,
        figure,
        count(*) filter (where part = '') as n,
        min(value) filter (where part = '') > 0
        and figure not in ('goodput', 'serving_efficiency', 'batch_efficiency', 'gpu_utilization', 'kv_cache_usage')
            as positive,
        avg(value) filter (where part = '') as mean,
        stddev_samp(value) filter (where part = '') as deviation,
        avg(log_value) filter (where part = '') as log_mean,
        stddev_samp(log_value) filter (where part = '') as log_deviation,
        any_value(value) filter (where part = 'low') as own_low,
        any_value(value) filter (where part = 'high') as own_high
    from parted
    group by point, figure
    having n > 0
), figures as (
    select
        point,
        figure,
        n,
        if(positive, exp(log_mean), mean) as value,
        case
            when n = 1 then own_low
            when positive then exp(log_mean - t95(n, 1) * log_deviation / sqrt(n))
            else greatest(0, mean - t95(n, 1) * deviation / sqrt(n))
        end as low,
        case
            when n = 1 then own_high
            when positive then exp(log_mean + t95(n, 1) * log_deviation / sqrt(n))
            when figure in ('goodput', 'batch_efficiency', 'gpu_utilization', 'kv_cache_usage')
                then least(1, mean + t95(n, 1) * deviation / sqrt(n))
            else mean + t95(n, 1) * deviation / sqrt(n)
        end as high
    from middles
)
select
    points.* exclude (point),
    load_title(load_kind, arrivals, users, rate_per_s, client_batch, payloads) as load_title,
    list({figure: figure, value: value, low: low, high: high} order by figure) as figures
from points
inner join figures on points.point = figures.point and points.blocks = figures.n
group by all
order by machine_name, device, model, stack, interface, load, verdicts;
