-- calibrations: one row a `make calibrate`.
create view calibrations as
select * exclude (schema_version)
from calibration_files;
