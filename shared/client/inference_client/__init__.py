"""Call any stack of the study by the protocol that its stack.toml names, sync or async."""

from inference_client.answers import Answer, Prediction, Vector
from inference_client.errors import (
    BadInput,
    ConfigError,
    InferenceError,
    Overloaded,
    TimedOut,
    Unreachable,
)
from inference_client.stack import AsyncStack, Stack, connect, connect_async

__all__ = [
    "Answer",
    "AsyncStack",
    "BadInput",
    "ConfigError",
    "InferenceError",
    "Overloaded",
    "Prediction",
    "Stack",
    "TimedOut",
    "Unreachable",
    "Vector",
    "connect",
    "connect_async",
]
