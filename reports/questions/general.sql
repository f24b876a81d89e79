-- What did the study's earlier tables say of servers and interfaces in general, and what was measured here? The lowest and the
-- highest over all groups' stacks of that server, and over the payload sizes of the newest `make overhead`.
with newest as (
    select *
    from overhead
    where overhead_id = (select max_by(overhead_id, measured_at) from overhead)
), long as (
    select 'server' as kind, stack as name, 'ready_s' as column_name, ready_s as value
    from stacks
    where run_id in (select run_id from counted) and status = 'measured'
    union all
    select 'server', stack, 'memory_idle_mb', memory_idle_mb
    from stacks
    where run_id in (select run_id from counted) and status = 'measured'
    union all
    select 'server', stack, 'gpu_utilization', gpu_utilization
    from shown
    union all
    select 'server', stack, 'users', users
    from shown
    where load_kind = 'search_users'
    union all
    select 'interface', interface, 'overhead_p50_ms', overhead_p50_ms + coalesce(connect_p50_ms, 0)
    from newest
)
select
    part, said, figure, claimed, general_claims.column_name,
    min(value) as low, max(value) as high, count(distinct long.name) as subjects
from general_claims
left join long
    on
        general_claims.kind = long.kind and general_claims.column_name = long.column_name
        and starts_with(long.name, general_claims.name)
group by number, part, said, figure, claimed, general_claims.column_name
order by number;
