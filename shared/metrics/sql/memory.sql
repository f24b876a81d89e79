-- memory: memory_idle_mb, memory_peak_mb, memory_growth_mb of the server's whole process tree, 10^6 bytes;
-- memory_mb_per_1000, MB held for each 1,000 units a second that are served
-- formula: peak - idle; peak / (throughput_per_s / 1000); never from the 10 Hz samples, whose RSS counts shared pages
-- once a process
-- needs: memory_idle_mb (PSS when ready), memory_peak_mb (cgroup peak or VmHWM)
-- source: this study
select
    memory_idle_mb,
    memory_peak_mb,
    memory_peak_mb - memory_idle_mb as memory_growth_mb,
    memory_peak_mb / nullif(units / seconds / 1000, 0) as memory_mb_per_1000
from served, context;
