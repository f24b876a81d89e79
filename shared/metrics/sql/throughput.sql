-- throughput: requests_per_s, throughput_per_s (in the trial's unit), throughput_per_user_per_s, units,
--   units_per_answer, window_s
-- formula: completed and correct answers whose last byte fell in the window / length of the window; a user's share
--   of it where users wait, null where arrivals are scheduled
-- needs: done_ns, ok, units
-- source: this study: counted where the work ended, so that a backlog built up in the window earns nothing
select
    requests / seconds as requests_per_s,
    units / seconds as throughput_per_s,
    units / seconds / users as throughput_per_user_per_s,
    units,
    units / nullif(requests, 0) as units_per_answer,
    seconds as window_s
from served, context;
