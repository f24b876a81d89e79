-- outcomes: offered, completed, errors, refused, dropped, timed_out, wrong_answers; counts of requests
-- formula: of the requests intended in the window: completed = answered and correct, errors = all others;
--   offered = completed + errors. Parts of errors: dropped (never sent), refused (the server turned it away: HTTP
--   429 and 503, gRPC RESOURCE_EXHAUSTED 8 and UNAVAILABLE 14), timed_out (sent, and not answered in the time given),
--   wrong_answers (not what the reference says)
-- needs: intended_ns, status, ok, error
-- source: the gRPC status codes document; RFC 9110 (503), RFC 6585 (429)
select
    count(*) as offered,
    count(*) filter (where completed) as completed,
    count(*) filter (where not completed) as errors,
    count(*) filter (where not completed and status in (429, 503, 8, 14)) as refused,
    count(*) filter (where not completed and dropped) as dropped,
    count(*) filter (where not completed and starts_with(error, 'timeout')) as timed_out,
    count(*) filter (where not completed and starts_with(error, 'wrong answer')) as wrong_answers
from offered;
