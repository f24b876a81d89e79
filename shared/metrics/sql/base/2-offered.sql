-- One row a request whose intended start lies in the window, late, failed and dropped ones included: leaving any
-- of them out is coordinated omission by another name. Milliseconds; a failed request is infinitely late.
create table offered as
with judged as (
    select
        requests.*,
        coalesce(ok, false) and done_ns is not null as completed,
        status = -1 and coalesce(error, '') = 'dropped' as dropped,
        list_sum(chunk_tokens) as tokens
    from requests, context
    where intended_ns >= window_start_ns and intended_ns < window_end_ns
)

select
    *,
    case when completed then (done_ns - intended_ns) / 1e6 else 'infinity'::double end as latency_ms,
    case when completed then (done_ns - sent_ns) / 1e6 else 'infinity'::double end as service_time_ms,
    -- An answer without text has no first token: it counts as one that never came.
    case when completed and len(chunk_ns) > 0 then (chunk_ns[1] - intended_ns) / 1e6 else 'infinity'::double end
        as ttft_ms,
    -- One token has no "time per further token": such a request is left out (null).
    case
        when not completed then 'infinity'::double
        when tokens > 1 then (chunk_ns[-1] - chunk_ns[1]) / 1e6 / (tokens - 1)
    end as tpot_ms
from judged;

-- Does anything stream here? Where nothing does, every streaming figure is null rather than "failed".
create view streaming as
select coalesce(bool_or(len(chunk_ns) > 0), false) as streams from requests;
