"""kserve-v2-http: POST /v2/models/<model>/infer with the binary tensor extension.

Images travel as raw bytes behind the JSON header (KServe's BYTES elements can't hold them in JSON),
texts as their UTF-8 bytes in the same way; output tensors are asked for as JSON. A class has three
outputs, a vector one. Spoken through httpx: see pyproject.toml.
"""

import json
import struct
from collections.abc import Sequence
from typing import Any, cast

from inference_client.answers import Answer, Vector, read_columns, read_rows
from inference_client.stack_file import Target
from inference_client.transport_http import HttpCodec, HttpCodecs, HttpRequest
from inference_client.wire import http_wire

OPTIONS: dict[str, Any] = {
    "model": "classify",
    "input": "IMAGE",  # BYTES [n, 1]
    "outputs": ["LABEL", "INDEX", "PROBABILITY"],  # BYTES, INT32, FP32 [n, k], in this order
}


def encode(target: Target, images: Sequence[bytes]) -> HttpRequest:
    # A BYTES element is its length as a little-endian uint32, then its bytes.
    tensor = b"".join(struct.pack("<I", len(image)) + image for image in images)
    header = json.dumps(
        {
            "inputs": [
                {
                    "name": target.options["input"],
                    "shape": [len(images), 1],
                    "datatype": "BYTES",
                    "parameters": {"binary_data_size": len(tensor)},
                }
            ],
            "outputs": [
                {"name": name, "parameters": {"binary_data": False}}
                for name in target.options["outputs"]
            ],
        }
    ).encode()
    return HttpRequest(
        f"/v2/models/{target.options['model']}/infer",
        {
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(len(header)),
        },
        header + tensor,
    )


def flat(data: Any) -> list[Any]:
    """Tensor data, which the protocol lets a server nest by dimension, as one list."""
    if not isinstance(data, list):
        return [data]
    return [value for row in cast("list[Any]", data) for value in flat(row)]


def outputs_of(target: Target, body: bytes) -> list[Any]:
    """The outputs that the options name, in their order."""
    by_name = {output["name"]: output for output in json.loads(body)["outputs"]}
    return [by_name[name] for name in target.options["outputs"]]


def decode(target: Target, body: bytes, images: int) -> list[Answer]:
    outputs = outputs_of(target, body)
    labels, indices, probabilities = (flat(output["data"]) for output in outputs)
    return read_columns(outputs[0]["shape"], labels, indices, probabilities)


def encode_texts(target: Target, texts: Sequence[str]) -> HttpRequest:
    return encode(target, [text.encode() for text in texts])


def decode_vectors(target: Target, body: bytes, texts: int) -> list[Vector]:
    (output,) = outputs_of(target, body)
    return read_rows(output["shape"], flat(output["data"]))


WIRE = http_wire(
    OPTIONS, HttpCodecs(HttpCodec(encode, decode), HttpCodec(encode_texts, decode_vectors))
)
