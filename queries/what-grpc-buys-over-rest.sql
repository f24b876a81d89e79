-- What does one interface of a stack buy over another, at the same load?
-- The ratio is taken in each block, so drift of the machine falls on both; ratio_min and ratio_max are the block's extremes.
-- Below three blocks, or where the extremes lie on both sides of 1, it is not a difference.
with pairs as (
    select
        a.group_id, a.machine_name, a.stack, a.model, a.weights, a.load, a.block,
        a.interface as interface_a, b.interface as interface_b,
        a.throughput_per_s / b.throughput_per_s as throughput_ratio,
        a.latency_p50_ms / b.latency_p50_ms as p50_ratio
    from latest as a
    inner join latest as b
        using (
            machine_name, run_id, group_id, stack, model, weights, precision, device, runtime, generator, load,
            client_batch, block
        )
    where a.interface > b.interface
)
select
    group_id, machine_name, stack, model, weights, load, interface_b || ' over ' || interface_a as compared,
    exp(-avg(ln(throughput_ratio))) as throughput_ratio,
    1 / max(throughput_ratio) as throughput_ratio_min,
    1 / min(throughput_ratio) as throughput_ratio_max,
    exp(-avg(ln(p50_ratio))) as p50_ratio,
    count(*) as blocks
from pairs
group by all
order by group_id, machine_name, load, stack;
