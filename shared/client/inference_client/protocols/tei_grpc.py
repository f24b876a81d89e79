"""tei-grpc: tei.v1.Embed/Embed of Text Embeddings Inference, one text a call.

Only the fields in use are declared: proto/tei.proto of huggingface/text-embeddings-inference.
"""

from collections.abc import Sequence
from typing import Any

from inference_client.answers import Vector, read_vector
from inference_client.protos import messages
from inference_client.stack_file import Target
from inference_client.transport_grpc import GrpcCodec, GrpcCodecs
from inference_client.wire import grpc_wire

PACKAGE = "tei.v1"
MESSAGES = messages(
    PACKAGE,
    {
        "EmbedRequest": ["string inputs = 1", "bool truncate = 2", "bool normalize = 3"],
        "EmbedResponse": ["repeated float embeddings = 1"],
    },
)


def encode(target: Target, texts: Sequence[str]) -> Any:
    if len(texts) != 1:
        raise ValueError(f"{target.protocol} takes one text a call, not {len(texts)}")
    return MESSAGES["EmbedRequest"](inputs=texts[0], truncate=True, normalize=True)


def decode(target: Target, message: Any, texts: int) -> list[Vector]:
    return [read_vector(message.embeddings)]


CODEC = GrpcCodec(f"/{PACKAGE}.Embed/Embed", MESSAGES["EmbedResponse"], encode, decode)
WIRE = grpc_wire({}, GrpcCodecs(embed=CODEC))
