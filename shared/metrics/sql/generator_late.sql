-- generator_late: generator_late_p99_ms, how late requests left although a user was free to send them
-- formula: p99 (nearest rank, no interval) of actual send - the later of intended start and the moment this user
--   was done with its previous request: what is left of late_start when waiting for busy users is taken out.
--   After a request that nobody answered it is not known when the user was free: the next one is left out
-- needs: vu, intended_ns, sent_ns, done_ns
-- source: this study; decides GENERATOR_LATE
with sends as (
    select
        intended_ns,
        sent_ns,
        lag(sent_ns) over (partition by vu order by sent_ns) as previous_ns,
        lag(done_ns) over (partition by vu order by sent_ns) as free_ns
    from requests
    where sent_ns is not null
)

select quantile_disc((sent_ns - greatest(intended_ns, coalesce(free_ns, 0))) / 1e6, 0.99) as generator_late_p99_ms
from sends
cross join context
where
    intended_ns >= window_start_ns and intended_ns < window_end_ns
    and (previous_ns is null or free_ns is not null);
