"""torchserve-http: POST /predictions/<model>, the image as the body; several as a multipart form.

TorchServe hands a form's parts to the handler by name: they are numbered "0", "1", … and answered
in that order. (JSON with base64 would carry a third more bytes for the same.)
"""

from collections.abc import Sequence

from inference_client.answers import Answer, read_json_answers
from inference_client.stack_file import Target
from inference_client.transport_http import HttpCodec, HttpCodecs, HttpRequest
from inference_client.wire import http_wire

OPTIONS = {"path": "/predictions/{model}"}


def encode(target: Target, images: Sequence[bytes]) -> HttpRequest:
    path, kind = target.options["path"], "application/octet-stream"
    if len(images) == 1:
        return HttpRequest(path, {"Content-Type": kind}, images[0])
    parts = [(f"{at}", (f"{at}", image, kind)) for at, image in enumerate(images)]
    return HttpRequest(path, parts=parts)


def decode(target: Target, body: bytes, images: int) -> list[Answer]:
    return read_json_answers(body, images)


WIRE = http_wire(OPTIONS, HttpCodecs(classify=HttpCodec(encode, decode)))
