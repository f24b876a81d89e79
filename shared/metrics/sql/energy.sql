-- energy_j_per_unit: joules of device power an answer costs (per image, token…)
-- formula: power integrated over the samples in the window (trapezoids), as a mean, x seconds / units
-- needs: samples.gpu_power_w, done_ns, ok, units
-- source: this study
select
    sum((gpu_power_w + before_w) / 2 * passed) / nullif(sum(passed), 0)
    * any_value(seconds) / nullif(any_value(units), 0) as energy_j_per_unit
from (
    select
        gpu_power_w,
        lag(gpu_power_w) over (order by t_ns) as before_w,
        t_ns - lag(t_ns) over (order by t_ns) as passed
    from samples, context
    where t_ns >= window_start_ns and t_ns <= window_end_ns and gpu_power_w is not null
) as steps, served;
