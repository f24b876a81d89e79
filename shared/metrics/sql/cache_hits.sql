-- cache_hits, cache_hit_share (share 0 to 1): what the server took from a cache, as it counts it
-- formula: cache_hits_count, difference over the window; that / cache_lookups_count, or / requests
--   offered where the server doesn't count what it looked for
-- needs: the server's counters cache_hits_count and, unless it counts requests, cache_lookups_count
-- source: this study: equal-work audit
select
    cache_hits_count as cache_hits,
    cache_hits_count
    / nullif(coalesce(cache_lookups_count, (select count(*) from offered)), 0) as cache_hit_share
from context;
