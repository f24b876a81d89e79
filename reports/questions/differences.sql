-- What differs between two runs, or two commits? The same stack under the same load in both: the log-ratio B / A of each metric's
-- means, with a 95% Welch interval over the blocks of each (blocks of different runs are no pairs), corrected for the number of
-- rows of a metric. `side_a` and `side_b` are tables of run ids.
with figures as (
    unpivot (
        select
            if(run_id in (from side_a), 'a', 'b') as side, run_id, machine_name, group_id, stack, server_version,
            interface, model, weights, precision, trials.device, trials.runtime, generator, load, client_batch,
            throughput_per_s, latency_p50_ms, latency_p95_ms, latency_p99_ms, ttft_p50_ms, itl_p95_ms,
            cpu_cores_used, memory_peak_mb, energy_j_per_unit,
            count(*) over (
                partition by
                    if(run_id in (from side_a), 'a', 'b'), machine_name, group_id, stack, interface, model, weights,
                    precision, trials.device, trials.runtime, generator, load, client_batch
            ) as usable
        from (select * exclude (runtime, weights, device) from runs) as runs
        inner join trials using (run_id)
        where verdict <> 'INVALID' and (run_id in (from side_a) or run_id in (from side_b))
    )
    on
        throughput_per_s, latency_p50_ms, latency_p95_ms, latency_p99_ms, ttft_p50_ms, itl_p95_ms, cpu_cores_used,
        memory_peak_mb, energy_j_per_unit
    into name metric value value
), sides as (
    select
        side, machine_name, group_id, stack, interface, model, weights, precision, device, runtime, generator, load,
        client_batch, metric,
        count(*) as n,
        avg(ln(value)) as middle,
        var_samp(ln(value)) / count(*) as error2,
        string_agg(distinct server_version, ', ' order by server_version) as server_version,
        string_agg(distinct run_id, ', ' order by run_id) as run_ids
    from figures
    where value > 0
    group by all
    -- A figure that a block lacks lies among failures: the other blocks would flatter it.
    having count(*) = any_value(usable)
), pairs as (
    select
        a.* exclude (side, n, middle, error2, server_version, run_ids),
        a.n as blocks_a, b.n as blocks_b, a.server_version as version_a, b.server_version as version_b,
        a.run_ids as runs_a, b.run_ids as runs_b,
        b.middle - a.middle as difference,
        sqrt(a.error2 + b.error2) as error,
        (a.error2 + b.error2) ** 2
        / nullif(a.error2 ** 2 / (a.n - 1) + b.error2 ** 2 / (b.n - 1), 0) as freedom
    from sides as a
    inner join sides as b
        using (
            machine_name, group_id, stack, interface, model, weights, precision, device, runtime, generator, load,
            client_batch, metric
        )
    where a.side = 'a' and b.side = 'b'
), counted_pairs as (
    select *, count(*) over (partition by group_id, metric) as pairs
    from pairs
), halves as (
    select
        *,
        -- Rounded down to whole degrees of freedom: on the safe side.
        if(
            blocks_a >= 3 and blocks_b >= 3,
            if(error = 0, 0, error * t95(least(floor(freedom + 1e-9), 58) + 1, pairs)),
            null
        ) as half
    from counted_pairs
)
select
    * exclude (difference, error, freedom, half),
    ratio_of(difference) as ratio,
    ratio_of(difference - half) as ratio_low,
    ratio_of(difference + half) as ratio_high,
    abs(difference) > half as distinguishable
from halves
order by group_id, distinguishable desc nulls last, abs(difference) desc, stack, interface, load, metric;
