"""What /metrics tells."""

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
QUEUE = Histogram("generate_queue_seconds", "From arrival to the first step", buckets=SECONDS)
INFERENCE = Histogram("generate_inference_seconds", "From first step to the end", buckets=SECONDS)
BATCH = Histogram(
    "generate_batch_sequences", "Sequences in a step", buckets=(1, 2, 4, 8, 16, 32, 64, 128)
)
TOKENS = Counter("generate_tokens", "Tokens generated")
RUNNING = Gauge("generate_running_sequences", "Sequences that take part in steps")
KV_USAGE = Gauge("generate_kv_usage", "Share of the key-value memory that is taken, 0 to 1")
IN_FLIGHT = Gauge("generate_in_flight_requests", "Admitted and not yet ended")
REQUESTS = Counter("generate_requests", "Requests by how they ended", ["interface", "outcome"])
REFUSED = Counter("generate_refused", "Requests refused because it is too busy", ["interface"])
for _interface in ("http", "ws", "grpc"):
    REFUSED.labels(_interface)
