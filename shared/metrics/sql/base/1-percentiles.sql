-- Percentiles as order statistics over a sorted list in which a failed request is infinitely late.
-- percentile_ranks(n, q) comes from metrics/ranks.py: the nearest rank ceil(n q) and the two ranks of its 95%
-- interval, all null where n is too small for one (p95 needs 72 requests, p99 368, p99.9 3,688).
-- Source: Hahn and Meeker, Statistical Intervals, section 5.2 (binomial ranks); independence is assumed.
create macro finite(x) as case when isinf(x) then null else x end;

create macro percentile(sorted, q) as
finite(sorted[percentile_ranks(len(sorted), q).middle]);

-- Null beside a value: that end of the interval lies among the failed requests, so it has no bound.
create macro interval_end(sorted, q, rank) as
case when percentile(sorted, q) is not null then finite(sorted[rank]) end;

create macro percentile_low(sorted, q) as
interval_end(sorted, q, percentile_ranks(len(sorted), q).low);

create macro percentile_high(sorted, q) as
interval_end(sorted, q, percentile_ranks(len(sorted), q).high);
