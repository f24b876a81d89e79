"""Prometheus metrics of this process; stack.toml maps them to the study's shared names."""

from prometheus_client import Counter, Gauge, Histogram, Summary, disable_created_metrics

disable_created_metrics()

REQUESTS = Counter("classify_requests", "Requests answered", ["interface", "code"])
REFUSED = Counter("classify_refused", "Requests refused because the queue was full", ["interface"])
PENDING = Gauge("classify_pending_images", "Images admitted and not yet answered", ["queue"])
DECODE = Summary("classify_decode_seconds", "Decoding one image")
QUEUE = Summary(
    "classify_queue_seconds",
    "From an image's admission to the start of its inference, without its own decoding",
)
INFERENCE = Summary("classify_inference_seconds", "What an image waited for its batch's execution")
BATCH = Histogram(
    "classify_batch_images", "Images in one execution", buckets=(1, 2, 4, 8, 16, 32, 64, 128)
)
