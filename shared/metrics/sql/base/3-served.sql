-- Work finished inside the window: completed and correct answers by their last byte, whenever they were asked.
create table served as
select
    count(done_ns) as requests,
    coalesce(sum(units), 0) as units,
    any_value((window_end_ns - window_start_ns) / 1e9) as seconds
from context
left join requests on ok and done_ns >= window_start_ns and done_ns < window_end_ns;
