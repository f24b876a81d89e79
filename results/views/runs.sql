-- runs: one row a run. The machine, calibration and groups keep their detail as JSON; what is asked for most has a
-- column of its own.
create view runs as
select
    run_id,
    replay_of,
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
    try_cast(elapsed_s as double) as elapsed_s,
    steal_share,
    calibration,
    try_cast(calibration ->> 'calibration_error_p99_ms' as double) as calibration_error_p99_ms,
    from_json(
        calibration -> 'cases',
        '[{"protocol": "VARCHAR", "rate_per_s": "DOUBLE", "requests": "BIGINT",
            "dropped": "BIGINT", "generator_cpu_s_per_1000": "DOUBLE", "steal_share": "DOUBLE",
            "latency_error_p50_ms": "DOUBLE", "latency_error_p99_ms": "DOUBLE",
            "latency_error_max_ms": "DOUBLE", "ttft_error_p50_ms": "DOUBLE",
            "ttft_error_p99_ms": "DOUBLE", "ttft_error_max_ms": "DOUBLE",
            "itl_error_p50_ms": "DOUBLE", "itl_error_p99_ms": "DOUBLE",
            "itl_error_max_ms": "DOUBLE", "late_error_p50_ms": "DOUBLE",
            "late_error_p99_ms": "DOUBLE", "late_error_max_ms": "DOUBLE"}]'
    ) as calibration_cases,
    try_cast(calibration ->> 'highest_rate_per_s' as double) as highest_rate_per_s,
    versions,
    groups
from run_files;
