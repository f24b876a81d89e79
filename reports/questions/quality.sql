-- How good are the answers of each precision? As the artefact's own build found; only ever of pretrained weights.
select distinct
    artefact.key as model,
    artefact.value ->> 'weights' as weights,
    artefact.value -> 'quality' ->> 'set' as quality_set,
    artefact.value -> 'quality' ->> 'figure' as figure,
    quality.key as precision,
    try_cast(quality.value as double) as value
from runs,
    json_each(runs.groups -> $group -> 'artefacts') as artefact,
    json_each(artefact.value -> 'quality') as quality
where
    run_id in (select counted.run_id from counted where counted.group_id = $group)
    and artefact.value ->> 'weights' = 'pretrained'
    and try_cast(quality.value as double) is not null
order by all;
