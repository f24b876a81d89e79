-- What does another precision of the same stack buy? Another experiment: it is told beside the main one, never mixed with it. Per
-- block the log-ratio of the throughput, a 95% t-interval over the blocks, corrected for the number of pairs of a load.
with blocks as (
    select
        a.run_id, a.machine_name, a.device, a.model, a.weights, a.runtime, a.generator, a.stack, a.interface, a.load,
        a.client_batch, a.precision as precision_a, b.precision as precision_b,
        load_title(a.load_kind, a.arrivals, a.users, a.rate_per_s, a.client_batch, a.payloads) as load_title,
        a.throughput_per_s as throughput_a, b.throughput_per_s as throughput_b,
        ln(a.throughput_per_s / b.throughput_per_s) as log_ratio
    from shown as a
    inner join shown as b
        using (
            run_id, group_id, machine_name, device, model, weights, runtime, generator, stack, interface, load,
            client_batch, block
        )
    where
        a.group_id = $group and a.precision > b.precision and a.load_kind = 'closed'
        and a.throughput_per_s > 0 and b.throughput_per_s > 0
), pairs as (
    select
        * exclude (log_ratio, throughput_a, throughput_b),
        avg(log_ratio) as middle,
        stddev_samp(log_ratio) / sqrt(count(*)) as error,
        avg(throughput_a) as throughput_a,
        avg(throughput_b) as throughput_b,
        count(*) as blocks
    from blocks
    group by all
), counted_pairs as (
    select
        *,
        count(*) over (partition by machine_name, device, model, weights, runtime, generator, load) as compared
    from pairs
), corrected as (
    select *, error * t95(blocks, compared) as half
    from counted_pairs
)
select
    * exclude (middle, error, half, compared),
    ratio_of(middle) as ratio,
    ratio_of(middle - half) as ratio_low,
    ratio_of(middle + half) as ratio_high,
    abs(middle) > half as distinguishable
from corrected
order by all;
