-- latest: the newest VALID and DEGRADED trials of each experiment and stack: what a question about today needs. An
-- experiment is a machine, a model, its weights, precision, device, runtime, generator, interface and load. A run with
-- the three blocks that an interval needs goes before a newer one without: a smoke run replaces no measurement.
create view latest as
with newest as (
    -- Of the columns that decide alone: windows over whole rows take five times as long.
    select
        run_id,
        trial_id
    from (
        select
            runs.machine_name,
            trials.run_id,
            trials.trial_id,
            trials.group_id,
            trials.stack,
            trials.model,
            trials.weights,
            trials.precision,
            trials.device,
            trials.runtime,
            trials.generator,
            trials.interface,
            trials.load,
            trials.client_batch,
            runs.started_at,
            count(distinct trials.block) over (
                partition by
                    trials.run_id, trials.group_id, trials.stack, trials.model, trials.weights,
                    trials.precision, trials.device, trials.runtime, trials.generator,
                    trials.interface, trials.load, trials.client_batch
            ) >= 3 as has_interval
        from trials
        inner join runs using (run_id)
        where trials.verdict <> 'INVALID'
    ) as usable
    qualify run_id = first_value(run_id) over (
        partition by
            machine_name, group_id, stack, model, weights, precision, device, runtime, generator,
            interface, load, client_batch
        order by has_interval desc, started_at desc, run_id desc
    )
)

select
    runs.machine_name,
    trials.*
from newest
inner join trials using (run_id, trial_id)
inner join runs using (run_id);
