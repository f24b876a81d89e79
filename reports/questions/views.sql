-- What the other questions build on: made once for a report. `chosen` holds the run asked for, or nothing: then what
-- counts is the view latest. `group_titles`, `stack_titles` and `t_quantiles` are tables that pages/facts.py fills.

-- Half-width factor of a 95% t-interval over n values, corrected for a number of pairs; null below 3 values
-- or beyond the table, which is then too small: no interval rather than one too narrow.
create temp macro t95(drawn, compared) as (
    select t from t_quantiles where n = drawn and pairs = compared
);

-- A group's SLO in run.json, which may be anybody's: what is no number is null.
create temp macro slo_of(groups, of) as {
    latency_ms: try_cast(groups -> of -> 'slo' ->> 'latency_ms' as double),
    ttft_ms: try_cast(groups -> of -> 'slo' ->> 'ttft_ms' as double),
    tpot_ms: try_cast(groups -> of -> 'slo' ->> 'tpot_ms' as double),
    share: try_cast(groups -> of -> 'slo' ->> 'share' as double)
};

-- The ratio of a log-ratio: neither e^x beyond 700 nor its inverse is a number.
create temp macro ratio_of(log_ratio) as exp(if(abs(log_ratio) > 700, 700 * sign(log_ratio), log_ratio));

-- The usable trials of the report, with their load in words. A table, as the next: every question asks them.
create temp table shown as
with usable as (
    select *
    from latest
    where (select count(*) from chosen) = 0
    union all by name
    select trials.*, runs.machine_name
    from trials
    inner join runs using (run_id)
    inner join chosen using (run_id)
    where trials.verdict <> 'INVALID'
)
select
    usable.*,
    coalesce(runs.groups -> group_id -> 'loads' -> load ->> 'arrivals', load_kind) as arrivals,
    runs.groups -> group_id -> 'loads' -> load ->> 'payloads' as payloads
from usable
inner join runs using (run_id);

-- Every trial of the runs behind them, INVALID ones included; and of the newest run where nothing was usable.
create temp table counted as
select trials.*, runs.machine_name, runs.started_at,
    coalesce(runs.groups -> group_id -> 'loads' -> load ->> 'arrivals', load_kind) as arrivals,
    runs.groups -> group_id -> 'loads' -> load ->> 'payloads' as payloads
from trials
inner join runs using (run_id)
where
    run_id in (select run_id from chosen)
    or ((select count(*) from chosen) = 0 and (
        (run_id, group_id) in (select (run_id, group_id) from shown)
        or run_id in (
            select max_by(t.run_id, r.started_at)
            from trials as t
            inner join runs as r using (run_id)
            where t.group_id not in (select group_id from shown)
            group by t.group_id
        )
    ));

create temp macro load_title(load_kind, arrivals, users, rate, client_batch, payloads) as
    case
        when load_kind = 'closed' then coalesce(users::varchar, 'some') || if(users = 1, ' caller', ' callers')
        when load_kind = 'search' then 'the highest rate within the limit'
        when load_kind = 'search_users' then 'the most callers within the limit'
        when load_kind = 'burst' then 'a burst of requests'
        when arrivals = 'poisson' then 'Poisson arrivals' || coalesce(', ' || printf('%.3g', rate) || ' requests/s', '')
        else 'even arrivals' || coalesce(', ' || printf('%.3g', rate) || ' requests/s', '')
    end
    || if(client_batch > 1, ', batches of ' || client_batch, '')
    || coalesce(', ' || payloads || ' payloads', '');
