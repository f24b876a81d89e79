-- runs: one row a run. The machine, calibration and groups keep their detail as JSON; what is asked for most has a
-- column of its own.
create view runs as
select
    run_id,
    started_at,
    finished_at,
    exit_code,
    profile,
    device,
    runtime,
    weights,
    seed,
    git_commit,
    git_dirty,
    machine,
    concat_ws(
        ' · ',
        machine ->> 'cpu_model',
        (machine ->> 'cpus') || ' CPUs',
        machine ->> '$.gpus[0].name'
    ) as machine_name,
    machine ->> 'cpu_model' as cpu_model,
    try_cast(machine ->> 'cpus' as bigint) as cpus,
    try_cast(machine ->> 'memory_mb' as double) as memory_mb,
    machine ->> '$.gpus[0].name' as gpu,
    server_cpus,
    client_cpus,
    shared_cpus,
    steal_share,
    calibration,
    try_cast(calibration ->> 'calibration_error_p99_ms' as double) as calibration_error_p99_ms,
    versions,
    groups
from run_files;
