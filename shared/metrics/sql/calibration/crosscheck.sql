-- crosscheck: what callers who come evenly over the window had to wait by the server's own record, ms, and what each
--   request's duration, as the tool gives it, is above the server's own time for it
-- formula: truth: the median time from request read to answer sent; an arrival whose answer falls due while the server
--   stalls (the longest silence in its record) waits for its end. added: done - sent - (answer sent - request read)
-- needs: matched, context (window_start_ns, window_end_ns, stalled)
-- source: coordinated omission, as G. Tene describes it: the world does not stop asking while a server is silent
with usual as (
    select quantile_disc(truth_ns[-1] - received_ns, 0.5) as ns
    from matched
),

sends as (
    select
        truth_ns[-1] as until_ns,
        lag(truth_ns[-1]) over (order by truth_ns[-1]) as from_ns
    from matched
),

silence as (
    select
        from_ns,
        until_ns
    from sends
    where from_ns is not null
    order by until_ns - from_ns desc
    limit 1
),

arrivals as (
    select unnest(range(window_start_ns, window_end_ns, 1000000)) as at_ns
    from context
),

waits as (
    select
        case
            when stalled and at_ns + usual.ns between from_ns and until_ns then until_ns - at_ns
            else usual.ns
        end / 1e6 as wait_ms
    from arrivals, usual, silence, context
),

durations as (
    select list_sort(list((done_ns - sent_ns - truth_ns[-1] + received_ns) / 1e6)) as added
    from matched
)

select
    quantile_disc(wait_ms, 0.5) as truth_p50_ms,
    quantile_disc(wait_ms, 0.95) as truth_p95_ms,
    quantile_disc(wait_ms, 0.99) as truth_p99_ms,
    max(wait_ms) as truth_max_ms,
    percentile(any_value(added), 0.5) as added_p50_ms,
    percentile(any_value(added), 0.99) as added_p99_ms
from waits, durations;
