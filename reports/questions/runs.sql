-- Where, when and with what was it measured, and how wrong can the clock be? The runs behind a group's page.
select
    run_id, started_at, finished_at, profile, device, runtime, weights, machine_name, memory_mb, machine ->> 'kernel' as kernel,
    machine ->> 'governor' as governor, array_to_string(server_cpus, ', ') as server_cpus,
    array_to_string(client_cpus, ', ') as client_cpus, shared_cpus, steal_share, calibration_error_p99_ms, git_commit,
    git_dirty, seed, versions ->> 'k6' as k6,
    slo_of(groups, $group).latency_ms as slo_latency_ms,
    slo_of(groups, $group).ttft_ms as slo_ttft_ms,
    slo_of(groups, $group).tpot_ms as slo_tpot_ms,
    slo_of(groups, $group).share as slo_share,
    groups -> $group ->> 'payloads_sha256' as payloads_sha256,
    (select string_agg(distinct artefact_sha256, ', ') from counted where counted.run_id = runs.run_id and group_id = $group)
        as artefact_sha256
from runs
where run_id in (select counted.run_id from counted where group_id = $group)
order by started_at desc;
