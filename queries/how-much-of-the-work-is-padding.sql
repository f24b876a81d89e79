-- How much of what a server computes is padding?
-- Texts of unlike length in one batch are filled up to the longest: padding_waste is the tokens computed for each one that
-- was asked, 1 is none. Read it beside the batch: a server that never batches wastes nothing and is no faster for it.
select
    group_id, machine_name, model, weights, precision, load, stack, interface,
    avg(padding_waste) as padding_waste,
    avg(batch_mean) as batch_mean,
    avg(tokens_per_s) as tokens_per_s,
    avg(throughput_per_s) as throughput_per_s,
    any_value(unit) as unit,
    count(*) as blocks
from latest
where padding_waste is not null
group by group_id, machine_name, model, weights, precision, load, stack, interface
order by group_id, machine_name, model, precision, load, padding_waste;
