-- late_start: late_start_p99_ms, how late requests left
-- formula: p99 (nearest rank, no interval) of actual send - intended start, over requests that were sent
-- needs: intended_ns, sent_ns
-- source: LoadGen's issue delay. It includes the wait for a free user; generator_late does not
select quantile_disc((sent_ns - intended_ns) / 1e6, 0.99) as late_start_p99_ms
from offered
where sent_ns is not null;
