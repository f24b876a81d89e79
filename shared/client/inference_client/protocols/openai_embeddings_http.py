"""openai-embeddings-http: POST /v1/embeddings, all texts as one `input`, vectors as numbers."""

import json
from collections.abc import Sequence
from typing import Any

from inference_client.answers import Vector, read_vector
from inference_client.stack_file import Target
from inference_client.transport_http import HttpCodec, HttpCodecs, HttpRequest
from inference_client.wire import http_wire

OPTIONS = {"path": "/v1/embeddings"}


def encode(target: Target, texts: Sequence[str]) -> HttpRequest:
    body = json.dumps({"input": list(texts), "encoding_format": "float"}).encode()
    return HttpRequest(target.options["path"], {"Content-Type": "application/json"}, body)


def decode(target: Target, body: bytes, texts: int) -> list[Vector]:
    data: Any = json.loads(body)["data"]
    placed = {int(entry["index"]): read_vector(entry["embedding"]) for entry in data}
    if len(placed) != len(data):
        raise ValueError("two vectors for one text")
    return [placed[at] for at in range(len(data))]


WIRE = http_wire(OPTIONS, HttpCodecs(embed=HttpCodec(encode, decode)))
