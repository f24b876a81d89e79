-- queue_ms: mean time a request waited in the server's own queue, ms
-- formula: queue_seconds_sum / queue_seconds_count, differences over the window
-- needs: the server's counters queue_seconds_sum, queue_seconds_count
-- source: the server's Prometheus metrics, as stack.toml maps them
select 1e3 * queue_seconds_sum / nullif(queue_seconds_count, 0) as queue_ms
from context;
