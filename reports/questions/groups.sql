-- Which groups are there, and what is asked in each?
with present as (
    select distinct run_id, group_id from trials
    union
    select distinct run_id, group_id from stacks
), known as (
    select distinct group_id
    from present
    where (select count(*) from chosen) = 0 or run_id in (select run_id from chosen)
)
select
    group_id,
    coalesce(title, group_id) as title,
    question,
    (select count(*) from counted where counted.group_id = known.group_id) as trials,
    (select count(distinct stack) from shown where shown.group_id = known.group_id) as stacks,
    (select max(started_at) from counted where counted.group_id = known.group_id) as measured_at,
    (select bool_and(weights = 'random') from counted where counted.group_id = known.group_id) as all_random,
    (
        select string_agg(distinct model, ', ' order by model)
        from counted
        where counted.group_id = known.group_id and weights = 'random'
    ) as random_models
from known
left join group_titles using (group_id)
order by group_id;
