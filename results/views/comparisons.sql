-- comparisons: one row a pair of stacks on one metric and workload in a run.
create view comparisons as
select *
from comparison_files;
