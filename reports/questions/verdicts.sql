-- How many trials count, and why do others not?
select
    stack, verdict, coalesce(reason, '') as reason, count(distinct (run_id, trial_id)) as trials
from (
    select stack, verdict, run_id, trial_id, unnest(if(len(reasons) = 0, [null], reasons)) as reason
    from counted
    where group_id = $group
)
group by all
order by stack, verdict desc, trials desc, reason;
