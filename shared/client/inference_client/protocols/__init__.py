"""The protocols, by the name that stack.toml gives. A new one: a module and a line in MODULES."""

from importlib import import_module

from inference_client.errors import ConfigError, nearest
from inference_client.wire import Wire

MODULES = {
    "classify-http": "classify_http",
    "classify-grpc": "classify_grpc",
    "kserve-v2-http": "kserve_v2_http",
    "kserve-v2-grpc": "kserve_v2_grpc",
    "torchserve-http": "torchserve_http",
    "torchserve-grpc": "torchserve_grpc",
    "openai-embeddings-http": "openai_embeddings_http",
    "embed-grpc": "embed_grpc",
    "tei-http": "tei_http",
    "tei-grpc": "tei_grpc",
}


def wire(protocol: str, where: str) -> Wire:
    """A protocol's Wire, imported when first asked for. Raises ConfigError."""
    if protocol not in MODULES:
        hint = nearest(protocol, MODULES)
        raise ConfigError(f"{where}.protocol: unknown protocol {protocol!r}, {hint}")
    found: Wire = import_module(f"{__name__}.{MODULES[protocol]}").WIRE
    return found
