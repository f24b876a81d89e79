-- goodput: share 0 to 1 of the offered requests that met every limit; slo_met: whether that is the share asked for
-- formula: completed within every limit that is set / offered; errors, refusals and dropped requests are misses;
--   null where no limit is set and for client batches above 1
-- needs: slo_latency_ms, slo_ttft_ms, slo_tpot_ms, slo_share, client_batch
-- source: DistServe (OSDI 2024), goodput
select
    case when judged then met / offered end as goodput,
    case when judged then met / offered >= slo_share end as slo_met
from (
    select
        any_value(
            coalesce(client_batch, 1) = 1 and coalesce(slo_latency_ms, slo_ttft_ms, slo_tpot_ms) is not null
        ) as judged,
        any_value(slo_share) as slo_share,
        nullif(count(*), 0) as offered,
        count(*) filter (
            where completed
            and (slo_latency_ms is null or latency_ms <= slo_latency_ms)
            and (slo_ttft_ms is null or ttft_ms <= slo_ttft_ms)
            and (slo_tpot_ms is null or coalesce(tpot_ms, 0) <= slo_tpot_ms)
        ) as met
    from offered, context
) as requests_judged;
