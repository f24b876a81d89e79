-- payloads_distinct: how many different payloads were really sent; few of them measure a cache
-- formula: distinct payload numbers over the requests sent
-- needs: payloads, sent_ns
-- source: this study: equal-work audit
select count(distinct payload) as payloads_distinct
from (
    select unnest(payloads) as payload from offered
    where sent_ns is not null
) as sent;
