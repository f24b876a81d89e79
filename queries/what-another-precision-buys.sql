-- What does another precision of a stack buy over fp32, at the same load?
-- Another precision is another experiment: the ratio says what it costs or saves, not that the answers are as good. It is
-- taken in each block; below three blocks, or where the extremes lie on both sides of 1, it is not a difference.
with pairs as (
    select
        a.group_id, a.machine_name, a.stack, a.interface, a.model, a.weights, a.load, a.precision, a.block,
        a.throughput_per_s / b.throughput_per_s as throughput_ratio,
        a.latency_p50_ms / b.latency_p50_ms as p50_ratio,
        a.memory_peak_mb / b.memory_peak_mb as memory_ratio
    from latest as a
    inner join latest as b
        using (
            machine_name, run_id, group_id, stack, interface, model, weights, device, runtime, generator, load,
            client_batch, block
        )
    where a.precision <> 'fp32' and b.precision = 'fp32'
)
select
    group_id, machine_name, stack, interface, model, weights, load, precision || ' over fp32' as compared,
    exp(avg(ln(throughput_ratio))) as throughput_ratio,
    min(throughput_ratio) as throughput_ratio_min,
    max(throughput_ratio) as throughput_ratio_max,
    exp(avg(ln(p50_ratio))) as p50_ratio,
    exp(avg(ln(memory_ratio))) as memory_ratio,
    count(*) as blocks
from pairs
group by all
order by group_id, machine_name, load, stack, compared;
