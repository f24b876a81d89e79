"""classify-http: POST the image as the body; several images as a multipart form, beside it."""

from collections.abc import Sequence

from inference_client.answers import Answer, read_json_answers
from inference_client.stack_file import Target
from inference_client.transport_http import HttpCodec, HttpCodecs, HttpRequest
from inference_client.wire import http_wire

OPTIONS = {
    "path": "/v1/classify",
    "batch_path": "/v1/classify/batch",
    "field": "image",  # the name of each part
}


def encode(target: Target, images: Sequence[bytes]) -> HttpRequest:
    # The server tells JPEG from PNG by the bytes: the client doesn't guess a media type.
    kind = "application/octet-stream"
    if len(images) == 1:
        return HttpRequest(target.options["path"], {"Content-Type": kind}, images[0])
    field = target.options["field"]
    parts = [(field, (f"{at}", image, kind)) for at, image in enumerate(images)]
    return HttpRequest(target.options["batch_path"], parts=parts)


def decode(target: Target, body: bytes, images: int) -> list[Answer]:
    return read_json_answers(body, images)


WIRE = http_wire(OPTIONS, HttpCodecs(classify=HttpCodec(encode, decode)))
