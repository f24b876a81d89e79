-- trials: one row a planned trial, whatever became of it: read verdict and reasons with every figure.
create view trials as
select
    trial_files.run_id,
    trial_id,
    run_files.profile,
    trial_files.* exclude (schema_version, run_id, trial_id)
from trial_files
left join run_files using (run_id);
