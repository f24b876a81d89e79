"""What the test servers answer: `b"picture 7"` is class 7, other words bring a fault."""

import struct
import time
from typing import Any

import grpc

K = 5


class Fault(Exception):
    """A refusal, as an HTTP status and a gRPC code."""

    def __init__(self, http: int, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.http, self.code = http, code


def model(image: bytes) -> list[tuple[str, int, float]]:
    """K classes of one picture. Raises Fault."""
    if image == b"busy":
        raise Fault(503, grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full")
    if image == b"busy too":
        raise Fault(429, grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size")
    if image == b"crash":
        raise Fault(500, grpc.StatusCode.INTERNAL, "the model fell over")
    if image == b"slow":
        time.sleep(2)
    if not image.startswith(b"picture "):
        raise Fault(422, grpc.StatusCode.INVALID_ARGUMENT, "image 0 is not a JPEG or PNG")
    top = int(image.removeprefix(b"picture "))
    return [(f"class {top + k} é", top + k, 0.5 / 2**k) for k in range(K)]


def answer_all(images: list[bytes]) -> list[list[tuple[str, int, float]]]:
    """The model over a batch; `short` loses an answer, as a faulty server might."""
    answers = [model(image) for image in images if image != b"short"]
    return answers


def as_json(rows: list[tuple[str, int, float]]) -> dict[str, Any]:
    return {
        "predictions": [{"label": row[0], "index": row[1], "probability": row[2]} for row in rows]
    }


def read_bytes_tensor(tensor: bytes) -> list[bytes]:
    """KServe's BYTES: each element's length as a little-endian uint32, then its bytes."""
    elements: list[bytes] = []
    while tensor:
        (size,) = struct.unpack_from("<I", tensor)
        elements.append(tensor[4 : 4 + size])
        tensor = tensor[4 + size :]
    return elements
