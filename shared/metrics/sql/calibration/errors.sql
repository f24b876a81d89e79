-- errors: how far the generator's stamps are from the null server's own record, ms
-- formula: per request, by the server's number of it (units). latency: last byte stamped here - last chunk as sent
--   there; ttft: the same for the first text chunk; itl: |gap here - gap there|; late: actual send - intended start
-- needs: matched (requests of the window joined with the server's record: received_ns, truth_ns)
-- source: DESIGN, calibration; truth is what the server did, not what it was told to do
with gaps as (
    select
        chunk_ns,
        truth_ns,
        unnest(range(2, len(chunk_ns) + 1)) as i
    from matched
),

errors as (
    select
        'latency' as figure,
        (done_ns - truth_ns[-1]) / 1e6 as error_ms
    from matched
    union all
    select
        'late' as figure,
        (sent_ns - intended_ns) / 1e6 as error_ms
    from matched
    union all
    select
        'ttft' as figure,
        (chunk_ns[1] - truth_ns[1]) / 1e6 as error_ms
    from matched
    where len(chunk_ns) > 0
    union all
    select
        'itl' as figure,
        abs((chunk_ns[i] - chunk_ns[i - 1]) - (truth_ns[i] - truth_ns[i - 1])) / 1e6 as error_ms
    from gaps
)

select
    figure,
    count(*) as samples,
    quantile_disc(error_ms, 0.5) as p50_ms,
    quantile_disc(error_ms, 0.99) as p99_ms,
    max(error_ms) as max_ms
from errors
group by figure
order by figure;
