"""What one request asks for: its images, decoded, or the reason why it can't be answered.

It holds one image (the raw body, or one part named `body` or `data`) or a client's batch: parts
with other names, answered in the order of the names, or `{"instances": [{"b64": "…"}, …]}`.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from preprocess import BadRequestError, decode, pixels_of

MAX_CLIENT_BATCH = 32
# After 60 s (responseTimeout) a worker is killed, and the other callers in its batch get no answer.
# Four requests (batchSize) at both limits take about 32: 50 ms a megapixel, 0.1 s an image.
MAX_REQUEST_PIXELS = 100_000_000
SINGLE = {"body", "data"}


@dataclass(frozen=True)
class Request:
    """What one request of the server's batch asks for, or why it can't be answered."""

    images: list[npt.NDArray[np.uint8]]
    is_batch: bool
    error: BadRequestError | None = None


def read(parts: dict[str, Any]) -> Request:
    """A request's parts to decoded images. Never raises: the fault becomes the request's answer."""
    is_batch = True
    try:
        if len(parts) == 1 and SINGLE & parts.keys():
            (body,) = parts.values()
            is_batch = isinstance(body, dict)
            named = _instances(body) if is_batch else [("the body", body)]
        else:  # by length first, so that "10" follows "9"
            named = sorted(parts.items(), key=lambda item: (len(item[0]), item[0]))
        if not 0 < len(named) <= MAX_CLIENT_BATCH:
            message = f"{len(named)} images in one request: send 1 to {MAX_CLIENT_BATCH}"
            raise BadRequestError(message, 413 if named else 400)
        _check_pixels(named)
        return Request([_image(name, value) for name, value in named], is_batch)
    except BadRequestError as error:
        return Request([], is_batch, error)


def _check_pixels(named: list[tuple[str, Any]]) -> None:
    """The limit of a whole request, from headers alone. One image has its own, in `decode`."""
    if len(named) == 1:
        return
    pixels = sum(pixels_of(value) for _, value in named if isinstance(value, bytes | bytearray))
    if pixels > MAX_REQUEST_PIXELS:
        limit = f"the limit is {MAX_REQUEST_PIXELS:,}, before and after scaling"
        raise BadRequestError(f"the images have {pixels:,} pixels together: {limit}", 413)


def _instances(body: dict[str, Any]) -> list[tuple[str, Any]]:
    instances = body.get("instances")
    if not isinstance(instances, list):
        raise BadRequestError('JSON must be {"instances": [{"b64": "…"}, …]}')
    named: list[tuple[str, Any]] = []
    for number, instance in enumerate(instances):
        try:
            named.append((f"instance {number}", base64.b64decode(instance["b64"], validate=True)))
        except (TypeError, KeyError, ValueError, binascii.Error) as error:
            raise BadRequestError(f'instance {number} is not {{"b64": "<base64>"}}') from error
    return named


def _image(name: str, value: Any) -> npt.NDArray[np.uint8]:
    if isinstance(value, bytes | bytearray) and value[:1] in (b"{", b"["):
        raise BadRequestError(f"{name} is broken JSON, or JSON without its content type")
    if not isinstance(value, bytes | bytearray):
        raise BadRequestError(f"{name} is text or JSON, not an image: send JPEG or PNG bytes", 415)
    try:
        return decode(value)
    except BadRequestError as error:
        raise BadRequestError(f"{name}: {error}", error.status) from error
