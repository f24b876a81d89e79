-- backlog_slope: share of the offered rate that piles up; about 0 when the server keeps up, 1 when nothing is answered
-- formula: least-squares slope (requests/s) of requests intended but not yet done, read at 100 even steps of the
--   window, / offered requests a second; requests never answered stay in the backlog
-- needs: intended_ns, done_ns, status
-- source: this study; decides SATURATED
with steps as (
    select
        window_start_ns,
        window_end_ns - window_start_ns as window_ns
    from context
),

changes as (
    select
        greatest(0, ceil(100.0 * (at_ns - window_start_ns) / window_ns))::bigint as step,
        sum(change) as change
    from (
        select
            intended_ns as at_ns,
            1 as change
        from requests
        union all
        select
            done_ns as at_ns,
            -1 as change
        from requests
        where done_ns is not null
    ) as events, steps
    where at_ns <= window_start_ns + window_ns
    group by all
),

backlog as (
    select
        step * window_ns / 100 / 1e9 as at_s,
        sum(coalesce(change, 0)) over (order by step) as waiting
    from range(101) as grid (step)
    left join changes using (step), steps
)

select
    regr_slope(waiting, at_s)
    / nullif((select count(*) from offered) / (select seconds from served), 0) as backlog_slope
from backlog;
