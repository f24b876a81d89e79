-- gpu: gpu_utilization (share 0 to 1), gpu_memory_mb (peak, 10^6 bytes), power_w (mean)
-- formula: mean, maximum and mean of the samples in the window; samples are evenly spaced
-- needs: samples.gpu_utilization (0 to 1), gpu_memory_bytes, gpu_power_w
-- source: NVML
select
    avg(gpu_utilization) as gpu_utilization,
    max(gpu_memory_bytes) / 1e6 as gpu_memory_mb,
    avg(gpu_power_w) as power_w
from samples, context
where t_ns >= window_start_ns and t_ns <= window_end_ns;
