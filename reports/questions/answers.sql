-- Which stack is better for a workload, and by how much? One row a pair, on the metric that its kind of load asks for:
-- throughput where callers wait; where requests come by themselves, the p95 of latency, or of the first token where the answer
-- streams (its median, where there are too few requests for that). Only pairs whose trials are those shown.
with runs_shown as (
    select distinct
        run_id, machine_name, device, model, weights, precision, runtime, generator, interface, load, client_batch,
        stack,
        case
            when load_kind not in ('open', 'burst') then ['throughput_per_s']
            when bool_or(ttft_p50_ms is not null) over (partition by load, interface) then ['ttft_p95_ms', 'ttft_p50_ms']
            else ['latency_p95_ms']
        end as metrics
    from shown
    where group_id = $group
)
select
    a.machine_name, a.device, a.model, a.weights, a.precision, a.runtime, a.generator, a.interface, a.load,
    a.client_batch, c.run_id, c.metric, c.stack_a, c.stack_b, c.ratio, c.ratio_low, c.ratio_high,
    -- Files from strangers may lack what this rests on.
    if(c.ratio_low > 0 and c.ratio_high > 0, c.distinguishable, null) as distinguishable,
    c.blocks, c.degraded
from comparisons as c
inner join runs_shown as a
    on
        c.run_id = a.run_id and c.stack_a = a.stack and c.model = a.model and c.weights = a.weights
        and c.precision = a.precision and c.device = a.device and c.runtime = a.runtime
        and c.generator = a.generator and c.interface = a.interface and c.load = a.load
        and c.client_batch = a.client_batch
inner join runs_shown as b
    on
        c.run_id = b.run_id and c.stack_b = b.stack and c.model = b.model and c.weights = b.weights
        and c.precision = b.precision and c.device = b.device and c.runtime = b.runtime
        and c.generator = b.generator and c.interface = b.interface and c.load = b.load
        and c.client_batch = b.client_batch
where
    c.group_id = $group and c.ratio > 0
    and list_contains(a.metrics, c.metric)
qualify rank() over (
    partition by
        a.machine_name, a.device, a.model, a.weights, a.precision, a.runtime, a.generator, a.interface, a.load,
        a.client_batch
    order by list_position(a.metrics, c.metric)
) = 1
order by all;
