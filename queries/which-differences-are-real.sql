-- Which differences between stacks are real?
-- Every pair whose interval leaves out 1, the largest first. What is missing here is not distinguishable, or has too few blocks.
select
    group_id, run_id, workload, weights, metric, stack_a, stack_b, ratio_low, ratio_high, blocks, degraded
from comparisons
where distinguishable
order by group_id, run_id, abs(ln(ratio)) desc;
