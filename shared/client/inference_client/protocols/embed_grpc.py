"""embed-grpc: study.embed.v1.Embedder/Embed, all texts in one message."""

from collections.abc import Sequence
from typing import Any

from inference_client.answers import Vector, read_vector
from inference_client.protos import messages
from inference_client.stack_file import Target
from inference_client.transport_grpc import GrpcCodec, GrpcCodecs
from inference_client.wire import grpc_wire

PACKAGE = "study.embed.v1"
MESSAGES = messages(
    PACKAGE,
    {
        "EmbedRequest": ["repeated string inputs = 1"],
        "Embedding": ["repeated float values = 1"],
        "EmbedResponse": ["repeated Embedding embeddings = 1"],
    },
)


def encode(target: Target, texts: Sequence[str]) -> Any:
    return MESSAGES["EmbedRequest"](inputs=texts)


def decode(target: Target, message: Any, texts: int) -> list[Vector]:
    return [read_vector(each.values) for each in message.embeddings]


CODEC = GrpcCodec(f"/{PACKAGE}.Embedder/Embed", MESSAGES["EmbedResponse"], encode, decode)
WIRE = grpc_wire({}, GrpcCodecs(embed=CODEC))
