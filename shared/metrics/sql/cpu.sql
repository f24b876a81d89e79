-- cpu_cores_used: CPU cores that the server's process tree kept busy
-- formula: CPU time gained between samples in the window / time between them; a fall (a child that exited) counts 0
-- needs: samples.server_cpu_ns (cumulative)
-- source: cgroup cpu.stat or /proc/PID/stat, as the sampler reads it
select sum(greatest(gained, 0)) / nullif(sum(passed), 0) as cpu_cores_used
from (
    select
        server_cpu_ns - lag(server_cpu_ns) over (order by t_ns) as gained,
        t_ns - lag(t_ns) over (order by t_ns) as passed
    from samples, context
    where t_ns >= window_start_ns and t_ns <= window_end_ns and server_cpu_ns is not null
) as steps;
