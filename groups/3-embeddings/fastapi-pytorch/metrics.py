"""Prometheus metrics of this process; stack.toml maps them to the study's shared names."""

from prometheus_client import Counter, Gauge, Histogram, Summary, disable_created_metrics

disable_created_metrics()

REQUESTS = Counter("embed_requests", "Requests answered", ["interface", "code"])
REFUSED = Counter("embed_refused", "Requests refused because the queue was full", ["interface"])
PENDING = Gauge("embed_pending_texts", "Texts admitted and not yet answered", ["queue"])
TOKENIZE = Summary("embed_tokenize_seconds", "Tokenizing the texts of one request")
QUEUE = Summary(
    "embed_queue_seconds", "From the end of a text's tokenizing to the start of its batch"
)
INFERENCE = Summary("embed_inference_seconds", "What a text waited for its batch's execution")
BATCH = Histogram(
    "embed_batch_texts", "Texts in one batch", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
)
TOKENS = Counter("embed_tokens", "Tokens executed, without padding")
PADDED = Counter("embed_padded_tokens", "Tokens executed, with padding")
