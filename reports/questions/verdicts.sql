-- How many trials count, and why do others not? Each trial once, with all of its reasons.
select
    machine_name, device, model, weights, precision, runtime, generator, stack, interface, load, verdict,
    array_to_string(list_sort(reasons), ', ') as reason,
    count(*) as trials
from counted
where group_id = $group
group by all
order by stack, verdict desc, trials desc, reason, model, interface, load;
