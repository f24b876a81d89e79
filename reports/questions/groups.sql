-- Which groups are there, and what is asked in each?
with known as (
    select distinct group_id from trials
    union
    select distinct group_id from stacks
)
select
    group_id,
    coalesce(title, group_id) as title,
    question,
    (select count(*) from counted where counted.group_id = known.group_id) as trials,
    (select count(distinct stack) from shown where shown.group_id = known.group_id) as stacks,
    (select max(started_at) from counted where counted.group_id = known.group_id) as measured_at,
    (select bool_or(weights = 'random') from counted where counted.group_id = known.group_id) as random_weights
from known
left join group_titles using (group_id)
order by group_id;
