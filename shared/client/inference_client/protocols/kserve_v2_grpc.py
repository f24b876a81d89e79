"""kserve-v2-grpc: inference.GRPCInferenceService/ModelInfer, with tritonclient's messages."""

import struct
from collections.abc import Sequence
from typing import Any

import tritonclient.grpc as tritonclient  # pyright: ignore[reportMissingTypeStubs]
from tritonclient.grpc import service_pb2  # pyright: ignore[reportMissingTypeStubs]

from inference_client.answers import Answer, Vector, read_columns, read_rows
from inference_client.protocols.kserve_v2_http import OPTIONS
from inference_client.stack_file import Target
from inference_client.transport_grpc import GrpcCodec, GrpcCodecs
from inference_client.wire import grpc_wire

KSERVE: Any = service_pb2
TRITON: Any = tritonclient


def encode(target: Target, images: Sequence[bytes]) -> Any:
    request = KSERVE.ModelInferRequest(model_name=target.options["model"])
    request.inputs.add(name=target.options["input"], datatype="BYTES", shape=[len(images), 1])
    # A BYTES element is its length as a little-endian uint32, then its bytes.
    tensor = b"".join(struct.pack("<I", len(image)) + image for image in images)
    request.raw_input_contents.append(tensor)
    for name in target.options["outputs"]:
        request.outputs.add(name=name)
    return request


def tensors_of(target: Target, message: Any) -> list[Any]:
    """The outputs that the options name, as numpy arrays, in their order."""
    result = TRITON.InferResult(message)
    tensors = [result.as_numpy(name) for name in target.options["outputs"]]
    if any(tensor is None for tensor in tensors):
        given = [output.name for output in message.outputs]
        raise KeyError(f"outputs {target.options['outputs']}, but the server sent {given}")
    return tensors


def decode(target: Target, message: Any, images: int) -> list[Answer]:
    tensors = tensors_of(target, message)
    labels, indices, probabilities = (tensor.reshape(-1).tolist() for tensor in tensors)
    names = [label.decode() for label in labels]  # tritonclient leaves BYTES elements as bytes
    return read_columns(tensors[0].shape, names, indices, probabilities)


def encode_texts(target: Target, texts: Sequence[str]) -> Any:
    return encode(target, [text.encode() for text in texts])


def decode_vectors(target: Target, message: Any, texts: int) -> list[Vector]:
    (tensor,) = tensors_of(target, message)
    return read_rows(tensor.shape, tensor.reshape(-1).tolist())


METHOD = "/inference.GRPCInferenceService/ModelInfer"
WIRE = grpc_wire(
    OPTIONS,
    GrpcCodecs(
        GrpcCodec(METHOD, KSERVE.ModelInferResponse, encode, decode),
        GrpcCodec(METHOD, KSERVE.ModelInferResponse, encode_texts, decode_vectors),
    ),
)
