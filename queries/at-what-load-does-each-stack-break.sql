-- At what load does each stack break?
-- The highest offered load of each kind at which the SLO held in every block, and the lowest at which it did not. Even and
-- Poisson arrivals are different kinds: a rate that holds when requests come evenly may not when they come in clumps.
-- A null highest_held means that the lightest load measured was too much; a null lowest_missed, that none was.
with loads as (
    select
        group_id, latest.machine_name, model, latest.weights, precision, latest.device, stack, interface, load,
        if(users is null, coalesce(groups -> group_id -> 'loads' -> load ->> 'arrivals', load_kind), 'users') as kind,
        coalesce(users, avg(rate_per_s)) as offered,
        bool_and(slo_met) as held
    from latest
    inner join runs using (run_id)
    where slo_met is not null
    group by
        group_id, latest.machine_name, model, latest.weights, precision, latest.device, stack, interface, load, kind, users
)
select
    group_id, machine_name, model, weights, stack, interface,
    if(kind = 'users', kind, 'requests/s, ' || kind) as offered_in,
    max(offered) filter (where held) as highest_held,
    min(offered) filter (where not held) as lowest_missed
from loads
group by all
order by group_id, machine_name, model, offered_in, interface, highest_held desc nulls last;
