-- What became of each stack in the runs behind the page: measured, failed or skipped, and why.
select
    stacks.run_id, coalesce(title, stack) as title, stack, status, reason, fix,
    string_agg(distinct interface, ', ' order by interface) as interfaces,
    any_value(server_version) as server_version,
    median(ready_s) as ready_s,
    median(first_request_ms) as first_request_ms,
    max(parity_drift) as parity_drift,
    max(memory_idle_mb) as memory_idle_mb,
    max(install_mb) as install_mb
from stacks
left join (select * from stack_titles where group_id = $group) as titles using (stack)
where stacks.group_id = $group and (
    run_id in (select counted.run_id from counted where counted.group_id = $group)
    or run_id = (
        select max_by(s.run_id, r.started_at)
        from stacks as s
        inner join runs as r using (run_id)
        where s.group_id = $group and (select count(*) from chosen) = 0
    )
)
group by stacks.run_id, title, stack, status, reason, fix
order by status = 'measured' desc, stack, stacks.run_id;
