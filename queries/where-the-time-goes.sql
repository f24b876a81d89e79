-- Where does a request spend its time?
-- queue and inference are what the server says, means; rest is the mean latency without them: decoding, transport, waiting elsewhere.
-- A rest below zero means that the server charges a request with its whole batch.
select
    group_id, machine_name, model, weights, load, stack, interface,
    avg(latency_mean_ms) as latency_mean_ms,
    avg(queue_ms) as queue_ms,
    avg(inference_ms) as inference_ms,
    avg(latency_mean_ms - queue_ms - inference_ms) as rest_ms
from latest
group by group_id, machine_name, model, weights, load, stack, interface
order by group_id, machine_name, model, load, stack, interface;
