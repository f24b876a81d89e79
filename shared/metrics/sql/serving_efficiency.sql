-- serving_efficiency: share of the bare engine's throughput that survives serving; above 1.02 the engine is at fault
-- formula: throughput_per_s / engine_throughput_per_s
-- needs: engine_throughput_per_s, the bare engine's best batch size, measured in the same run
-- source: this study
select units / seconds / nullif(engine_throughput_per_s, 0) as serving_efficiency
from served, context;
