-- samples: one row a sample of the server's and the generator's resources, where a run's raw records are kept.
create view samples as
select
    parse_path(filename)[-4] as run_id,
    parse_path(filename)[-2] as trial_id,
    * exclude (filename)
from sample_files;
