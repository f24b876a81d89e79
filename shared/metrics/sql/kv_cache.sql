-- kv_cache_usage: share of the server's key-value cache that was in use, 0 to 1
-- formula: mean of the server's gauge at the window's start and end
-- needs: the server's gauge kv_cache_usage
-- source: the server's Prometheus metrics, as stack.toml maps them; two readings: a hint, not a peak
select kv_cache_usage
from context;
