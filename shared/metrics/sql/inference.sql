-- inference_ms: mean time a request spent in the model, ms; each is charged with the whole batch it rode in
-- formula: inference_seconds_sum / inference_seconds_count, differences over the window
-- needs: the server's counters inference_seconds_sum (summed over requests) and inference_seconds_count (requests)
-- source: Triton's nv_inference_compute_infer_duration_us, which counts so
select 1e3 * inference_seconds_sum / nullif(inference_seconds_count, 0) as inference_ms
from context;
