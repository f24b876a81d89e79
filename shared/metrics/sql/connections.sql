-- connections_opened: connections opened by requests of the window; 0 when every one was reused
-- formula: requests whose connect time is above 0
-- needs: connect_ns
-- source: this study: a new connection a request is measured as the server's latency
select count(*) filter (where connect_ns > 0) as connections_opened
from offered;
