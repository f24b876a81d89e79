-- overhead: what an interface adds to the server's own time, ms: p50, p95 with 95% intervals
-- formula: (last byte stamped here - actual send - opening of the connection) - (answer sent there - request wholly
--   read there); connect: opening the connection, null where it was reused
-- needs: matched (requests of the window joined with the server's record: received_ns, truth_ns)
-- source: the study's overhead table
with added as (
    select
        connect_ns,
        (done_ns - sent_ns - coalesce(connect_ns, 0) - (truth_ns[-1] - received_ns)) / 1e6 as overhead_ms
    from matched
),

ranking as (
    select
        count(*) as requests,
        list_sort(list(overhead_ms)) as sorted,
        list_sort(list(connect_ns / 1e6) filter (connect_ns > 0)) as opened
    from added
)

select
    requests,
    len(opened) as connections,
    percentile(sorted, 0.5) as overhead_p50_ms,
    percentile_low(sorted, 0.5) as overhead_p50_ms_low,
    percentile_high(sorted, 0.5) as overhead_p50_ms_high,
    percentile(sorted, 0.95) as overhead_p95_ms,
    percentile_low(sorted, 0.95) as overhead_p95_ms_low,
    percentile_high(sorted, 0.95) as overhead_p95_ms_high,
    percentile(opened, 0.5) as connect_p50_ms,
    percentile(opened, 0.95) as connect_p95_ms
from ranking;
