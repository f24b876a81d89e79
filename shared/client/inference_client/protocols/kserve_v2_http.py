"""kserve-v2-http: POST /v2/models/<model>/infer with the binary tensor extension.

Images travel as raw bytes behind the JSON header (KServe's BYTES elements can't hold them in JSON);
the three small output tensors are asked for as JSON. Spoken through httpx: see pyproject.toml.
"""

import json
import struct
from collections.abc import Sequence
from typing import Any, cast

from inference_client.answers import Answer, read_columns
from inference_client.stack_file import Target
from inference_client.transport_http import HttpCodec, HttpRequest
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


def decode(target: Target, body: bytes, images: int) -> list[Answer]:
    by_name = {output["name"]: output for output in json.loads(body)["outputs"]}
    outputs = [by_name[name] for name in target.options["outputs"]]
    labels, indices, probabilities = (flat(output["data"]) for output in outputs)
    return read_columns(outputs[0]["shape"], labels, indices, probabilities)


WIRE = http_wire(OPTIONS, HttpCodec(encode, decode))
