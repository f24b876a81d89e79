-- throughput: requests_per_s, throughput_per_s (in the trial's unit), units, window_s
-- formula: completed and correct answers whose last byte fell in the window / length of the window
-- needs: done_ns, ok, units
-- source: this study: counted where the work ended, so that a backlog built up in the window earns nothing
select
    requests / seconds as requests_per_s,
    units / seconds as throughput_per_s,
    units,
    seconds as window_s
from served;
