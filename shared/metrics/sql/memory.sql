-- memory: memory_idle_mb, memory_peak_mb, memory_growth_mb of the server's whole process tree, 10^6 bytes
-- formula: peak - idle; never from the 10 Hz samples, whose RSS counts shared pages once a process
-- needs: memory_idle_mb (PSS when ready), memory_peak_mb (cgroup peak or VmHWM)
-- source: this study
select
    memory_idle_mb,
    memory_peak_mb,
    memory_peak_mb - memory_idle_mb as memory_growth_mb
from context;
