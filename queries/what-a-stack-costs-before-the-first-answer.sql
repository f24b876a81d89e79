-- What does a stack cost before its first answer?
-- Disk, time until a real inference succeeds, how much slower the first request is than later ones, idle memory, processes.
select
    group_id, machine_name, stack, stacks.device, any_value(server_version) as server_version,
    max(install_mb) as install_mb,
    median(ready_s) as ready_s,
    median(first_request_ms) as first_request_ms,
    median(first_request_ms / later_request_ms) as first_over_later,
    max(memory_idle_mb) as memory_idle_mb,
    max(processes) as processes
from stacks
inner join runs using (run_id)
where status = 'measured'
group by group_id, machine_name, stack, stacks.device
order by group_id, machine_name, ready_s;
