-- How do throughput and resources run over a trial? At most 60 points of each trial of the first block, where raw records are kept.
with chosen_trials as (
    select
        run_id, trial_id, machine_name, device, model, weights, precision, runtime, generator, stack, interface, load, verdict,
        greatest(1, ceil(coalesce(window_s, 60) / 60)) as width_s
    from shown
    where group_id = $group and block = 1
), sampled as (
    select
        chosen_trials.*,
        t_ns,
        min(t_ns) over (partition by run_id, trial_id) as start_ns,
        (server_cpu_ns - lag(server_cpu_ns) over trial) / nullif(t_ns - lag(t_ns) over trial, 0) as cpu_cores,
        server_rss_bytes / 1e6 as memory_mb,
        samples.gpu_utilization,
        gpu_memory_bytes / 1e6 as gpu_memory_mb,
        gpu_power_w as power_w
    from samples
    inner join chosen_trials using (run_id, trial_id)
    window trial as (partition by run_id, trial_id order by t_ns)
), used as (
    unpivot (
        select
            * exclude (t_ns, start_ns, width_s),
            floor((t_ns - start_ns) / 1e9 / width_s) * width_s as second
        from sampled
    )
    on cpu_cores, memory_mb, gpu_utilization, gpu_memory_mb, power_w
    into name figure value value
), starts as (
    select run_id, trial_id, min(t_ns) as start_ns, max(t_ns) as end_ns
    from samples
    group by run_id, trial_id
), steps as (
    -- A step in which nothing was answered is a point too.
    select
        chosen_trials.*,
        unnest(range((floor((end_ns - start_ns) / 1e9 / width_s))::bigint)) * width_s as second
    from chosen_trials
    inner join starts using (run_id, trial_id)
), answered as (
    select
        run_id, trial_id,
        floor((done_ns - start_ns) / 1e9 / width_s) * width_s as second,
        sum(units) as units
    from requests
    inner join chosen_trials using (run_id, trial_id)
    inner join starts using (run_id, trial_id)
    where ok
    group by all
), served as (
    -- Whole steps only: a last one that was cut short would look like a drop.
    select
        steps.* exclude (width_s),
        'throughput_per_s' as figure,
        coalesce(units, 0) / width_s as value
    from steps
    left join answered using (run_id, trial_id, second)
)
select * replace (avg(value) as value)
from used
group by all
union all by name
from served
order by run_id, trial_id, figure, second;
