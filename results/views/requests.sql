-- requests: one row a request, where a run's raw records are kept. The run and the trial are the folders' names:
-- <run_id>/raw/<trial_id>/requests.parquet.
create view requests as
select
    parse_path(filename)[-4] as run_id,
    parse_path(filename)[-2] as trial_id,
    * exclude (filename)
from request_files;
