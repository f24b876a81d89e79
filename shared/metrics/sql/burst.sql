-- burst: burst_offered, burst_refused; counts of the requests intended in the burst, null where there is none
-- formula: offered, and of those turned away by the server (as in outcomes)
-- needs: burst_start_ns, burst_end_ns, intended_ns, status, ok
-- source: this study
select
    case when bursts then offered end as burst_offered,
    case when bursts then refused end as burst_refused
from (
    select
        any_value(burst_end_ns) is not null as bursts,
        count(intended_ns) as offered,
        count(*) filter (where not completed and status in (429, 503, 8, 14)) as refused
    from context
    left join offered on intended_ns >= burst_start_ns and intended_ns < burst_end_ns
) as counts;
