-- overhead: one row an interface, payload size and kind of connection in a `make overhead`.
create view overhead as
select * exclude (schema_version)
from overhead_files;
