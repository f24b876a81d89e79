-- batch: batch_mean (items), batch_efficiency (share 0 to 1)
-- formula: items executed / batches executed; that / the configured maximum batch
-- needs: the server's counters batch_items_sum, batch_executions_count; max_batch
-- source: Triton's nv_inference_count / nv_inference_exec_count
select
    batch_items_sum / nullif(batch_executions_count, 0) as batch_mean,
    batch_items_sum / nullif(batch_executions_count, 0) / nullif(max_batch, 0) as batch_efficiency
from context;
