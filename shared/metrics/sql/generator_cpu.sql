-- generator_cpu_share: share 0 to 1 of its CPUs that the generator used; above 0.7 it is near its ceiling
-- formula: CPU time gained between samples in the window / time between them / generator_cpus
-- needs: samples.generator_cpu_ns (cumulative); generator_cpus
-- source: this study; decides NEAR_GENERATOR_CEILING
select sum(greatest(gained, 0)) / nullif(sum(passed), 0) / nullif(any_value(generator_cpus), 0) as generator_cpu_share
from (
    select
        generator_cpu_ns - lag(generator_cpu_ns) over (order by t_ns) as gained,
        t_ns - lag(t_ns) over (order by t_ns) as passed,
        generator_cpus
    from samples, context
    where t_ns >= window_start_ns and t_ns <= window_end_ns and generator_cpu_ns is not null
) as steps;
