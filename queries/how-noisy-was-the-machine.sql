-- How far can these figures be trusted?
-- By run: the generator's error against the null server, CPU time taken by others, and how much the same trial differed
-- between blocks (standard deviation over mean of throughput: median and worst).
with repeats as (
    select
        run_id, stddev_samp(throughput_per_s) / avg(throughput_per_s) as spread
    from trials
    where verdict <> 'INVALID'
    group by run_id, group_id, stack, interface, model, weights, load
    having count(*) > 1
)
select
    run_id, started_at, profile, machine_name, calibration_error_p99_ms, steal_share,
    median(spread) as block_spread_median,
    max(spread) as block_spread_worst,
    (select count(*) from trials where trials.run_id = runs.run_id and verdict = 'INVALID') as invalid_trials
from runs
left join repeats using (run_id)
group by all
order by started_at desc;
