-- What does one interface of a stack cost against another? Per block the log-ratio of the median service time, a 95% t-interval
-- over the blocks, corrected for the number of pairs of a load.
with blocks as (
    select
        a.run_id, a.machine_name, a.device, a.model, a.weights, a.precision, a.runtime, a.generator, a.load,
        a.client_batch, a.stack, a.interface as interface_a, b.interface as interface_b,
        ln(a.service_time_p50_ms / b.service_time_p50_ms) as log_ratio,
        a.service_time_p50_ms - b.service_time_p50_ms as difference_ms
    from shown as a
    inner join shown as b
        using (
            run_id, group_id, machine_name, device, model, weights, precision, runtime, generator, load,
            client_batch, stack, block
        )
    where
        a.group_id = $group and a.interface > b.interface
        and a.service_time_p50_ms > 0 and b.service_time_p50_ms > 0
), pairs as (
    select
        * exclude (log_ratio, difference_ms),
        ratio_of(avg(log_ratio)) as ratio,
        avg(log_ratio) as middle,
        stddev_samp(log_ratio) / sqrt(count(log_ratio)) as error,
        avg(difference_ms) as difference_ms,
        count(log_ratio) as blocks
    from blocks
    group by all
), counted_pairs as (
    select
        *,
        count(*) over (partition by machine_name, device, model, weights, precision, runtime, generator, load) as pairs
    from pairs
), corrected as (
    select *, error * t95(blocks, pairs) as half
    from counted_pairs
)
select
    * exclude (middle, error, half),
    ratio_of(middle - half) as ratio_low,
    ratio_of(middle + half) as ratio_high,
    abs(middle) > half as distinguishable
from corrected
where ratio is not null
order by all;
