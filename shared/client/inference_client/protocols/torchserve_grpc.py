"""torchserve-grpc: InferenceAPIsService/Predictions; the answer is the handler's JSON.

One image is the input `data`; several are numbered "0", "1", … and answered in that order.
Only the fields in use are declared: https://github.com/pytorch/serve/blob/master/frontend/server/src/main/resources/proto/inference.proto
"""

import json
from collections.abc import Sequence
from typing import Any

from inference_client.answers import Answer, read_json_answers
from inference_client.protos import messages
from inference_client.stack_file import Target
from inference_client.transport_grpc import GrpcCodec, GrpcCodecs
from inference_client.transport_http import raise_for_status
from inference_client.wire import grpc_wire

OPTIONS = {"model": "{model}"}

PACKAGE = "org.pytorch.serve.grpc.inference"
MESSAGES = messages(
    PACKAGE,
    {
        "PredictionsRequest": ["string model_name = 1", "map<string, bytes> input = 3"],
        "PredictionResponse": ["bytes prediction = 1"],
    },
)

# A full job queue is INTERNAL over gRPC (503 over HTTP), told apart by this sentence only.
REFUSALS = ("has no worker to serve inference request",)


def encode(target: Target, images: Sequence[bytes]) -> Any:
    named = {"data": images[0]} if len(images) == 1 else {f"{i}": v for i, v in enumerate(images)}
    return MESSAGES["PredictionsRequest"](model_name=target.options["model"], input=named)


def decode(target: Target, message: Any, images: int) -> list[Answer]:
    # What a handler refuses comes as an OK answer that holds an HTTP code and the reason.
    answer: Any = json.loads(message.prediction)
    if "code" in answer:
        raise_for_status(target, int(answer["code"]), message.prediction)
    return read_json_answers(message.prediction, images)


CODEC = GrpcCodec(
    f"/{PACKAGE}.InferenceAPIsService/Predictions",
    MESSAGES["PredictionResponse"],
    encode,
    decode,
    refusals=REFUSALS,
)
WIRE = grpc_wire(OPTIONS, GrpcCodecs(classify=CODEC))
