-- crosschecks: one row a generator under a load in a `make crosscheck`. Figures of other generators than k6 are here
-- alone: trials never mix with them.
create view crosschecks as
select * exclude (schema_version)
from crosscheck_files;
