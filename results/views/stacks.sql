-- stacks: one row a stack of a group in a run, measured, failed or skipped: one an interface and start.
create view stacks as
select * exclude (schema_version)
from stack_files;
