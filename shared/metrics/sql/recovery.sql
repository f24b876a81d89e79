-- recovery: recovery_s, from the burst's end until p95 is back within 10% of before, and stays; before_burst_p95_ms
-- formula: intended start of the first request after the burst from which on both the p95 of the 20 requests that
--   begin with it (19 of 20) and the p95 of all that follow are at most 1.1 x the p95 of the window before the
--   burst, - the burst's end. Null: not back within the window, or fewer than 72 requests before the burst
-- needs: burst_start_ns, burst_end_ns, intended_ns, done_ns, ok
-- source: this study. The 20 lie ahead of the moment, so that they don't smear it. 20 is the fewest whose p95 is not
--   their maximum; "stays" is the p95 of the rest, as among many windows of 20 one is slow by chance. A failed
--   request is infinitely late
with before_burst as (
    select
        any_value(burst_end_ns) as burst_end_ns,
        percentile(list_sort(list(latency_ms)), 0.95) as p95_ms
    from offered, context
    where intended_ns < burst_start_ns
),

after_burst as (
    select
        intended_ns,
        burst_end_ns,
        count(*) over ahead as n,
        -- p95 is within the limit where at most one in 20 is later than it.
        20 * count(*) filter (where latency_ms > 1.1 * p95_ms) over ahead as late,
        count(*) over rest as n_rest,
        20 * count(*) filter (where latency_ms > 1.1 * p95_ms) over rest as late_rest
    from offered, before_burst
    where intended_ns >= burst_end_ns and p95_ms is not null
    window
        ahead as (order by intended_ns, slot rows between current row and 19 following),
        rest as (order by intended_ns, slot rows between current row and unbounded following)
)

select
    (select p95_ms from before_burst) as before_burst_p95_ms,
    min((intended_ns - burst_end_ns) / 1e9) as recovery_s
from after_burst
where n = 20 and late <= n and late_rest <= n_rest;
