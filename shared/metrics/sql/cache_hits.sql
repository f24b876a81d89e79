-- cache_hits: answers that the server took from a cache, as it counts them
-- formula: cache_hits_count, difference over the window
-- needs: the server's counter cache_hits_count
-- source: this study: equal-work audit
select cache_hits_count as cache_hits
from context;
