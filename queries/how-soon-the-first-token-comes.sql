-- How soon does the first token come, and how steadily the others?
-- By load and interface: TTFT from the moment a request should have started, ITL between chunks (read it beside
-- tokens_per_chunk), and what each user gets. Null: nothing streams there, or too few requests for that percentile.
select
    group_id, machine_name, model, weights, stack, interface, load, users,
    avg(ttft_p50_ms) as ttft_p50_ms,
    avg(ttft_p95_ms) as ttft_p95_ms,
    avg(itl_p50_ms) as itl_p50_ms,
    avg(itl_p95_ms) as itl_p95_ms,
    avg(tokens_per_chunk) as tokens_per_chunk,
    avg(throughput_per_s) as throughput_per_s,
    avg(throughput_per_user_per_s) as throughput_per_user_per_s
from latest
group by group_id, machine_name, model, weights, stack, interface, load, users
order by group_id, machine_name, model, load, stack, interface;
