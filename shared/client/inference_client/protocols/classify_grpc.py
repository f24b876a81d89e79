"""classify-grpc: study.classify.v1.Classifier/Classify, one image or a batch in one message."""

from collections.abc import Sequence
from typing import Any

from inference_client.answers import Answer, Prediction
from inference_client.protos import messages
from inference_client.stack_file import Target
from inference_client.transport_grpc import GrpcCodec, GrpcCodecs
from inference_client.wire import grpc_wire

PACKAGE = "study.classify.v1"
MESSAGES = messages(
    PACKAGE,
    {
        "ClassifyRequest": ["repeated bytes images = 1"],
        "Prediction": ["string label = 1", "int32 index = 2", "float probability = 3"],
        "Result": ["repeated Prediction predictions = 1"],
        "ClassifyResponse": ["repeated Result results = 1"],
    },
)


def encode(target: Target, images: Sequence[bytes]) -> Any:
    return MESSAGES["ClassifyRequest"](images=images)


def decode(target: Target, message: Any, images: int) -> list[Answer]:
    return [
        tuple(Prediction(p.label, p.index, p.probability) for p in result.predictions)
        for result in message.results
    ]


METHOD = f"/{PACKAGE}.Classifier/Classify"
CODEC = GrpcCodec(METHOD, MESSAGES["ClassifyResponse"], encode, decode)
WIRE = grpc_wire({}, GrpcCodecs(classify=CODEC))
