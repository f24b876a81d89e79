-- What is missing, and why?
-- Stacks that were skipped or failed, with what would change that, and trials that allow no conclusion or only a careful one.
select run_id, group_id, stack, interface, status as what, reason as why, fix
from stacks
where status <> 'measured'
union all by name
select
    run_id, group_id, stack, interface,
    verdict || ' ' || load || ', block ' || block as what,
    concat_ws(': ', array_to_string(reasons, ', '), detail) as why
from trials
where verdict <> 'VALID'
order by run_id, group_id, stack, what;
