"""tei-http: POST /embed of Text Embeddings Inference, a list of texts to a list of vectors."""

import json
from collections.abc import Sequence

from inference_client.answers import Vector, read_vector
from inference_client.stack_file import Target
from inference_client.transport_http import HttpCodec, HttpCodecs, HttpRequest
from inference_client.wire import http_wire

OPTIONS = {"path": "/embed"}


def encode(target: Target, texts: Sequence[str]) -> HttpRequest:
    body = json.dumps({"inputs": list(texts), "truncate": True, "normalize": True}).encode()
    return HttpRequest(target.options["path"], {"Content-Type": "application/json"}, body)


def decode(target: Target, body: bytes, texts: int) -> list[Vector]:
    return [read_vector(vector) for vector in json.loads(body)]


WIRE = http_wire(OPTIONS, HttpCodecs(embed=HttpCodec(encode, decode)))
