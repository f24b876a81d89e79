"""What this server does with bad input is what README's table says, and it serves the next request.

The bug this would catch: a preprocess step that fails a whole batch, dies, or hides the fault.
"""

import io
import struct
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc as kserve
from PIL import Image
from tritonclient.utils import InferenceServerException

PATH = "/v2/models/classify/infer"
NAMES = [
    "empty",
    "text",
    "truncated",
    "bomb",
    "bomb that Pillow refuses",
    "narrow",
    "icon",
    "50 MB",
]


def encoded(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def icon(picture: bytes) -> bytes:
    """A PNG in an ICO whose one entry says 16 x 16: where it begins, and how long it is."""
    entry = struct.pack("<4B2H2I", 16, 16, 0, 0, 1, 32, len(picture), 6 + 16)
    return struct.pack("<3H", 0, 1, 1) + entry + picture


def bad_images(good: bytes) -> dict[str, tuple[bytes, str]]:
    """Name: (what is sent as a picture, what the answer must say)."""
    return {
        "empty": (b"", "IMAGE[0]: the image is empty"),
        "text": (b"this is not a picture", "IMAGE[0]: not an image"),
        "truncated": (good[: len(good) // 2], "IMAGE[0]: the image is damaged"),
        "bomb": (
            encoded(Image.new("L", (10_000, 10_000)), "PNG"),
            "IMAGE[0]: the image has 10000 x 10000 pixels",
        ),
        "narrow": (
            encoded(Image.new("L", (1, 4_000)), "PNG"),
            "IMAGE[0]: the image has 1 x 4000 pixels",
        ),
        "icon": (
            icon(encoded(Image.new("L", (7_000, 7_000)), "PNG")),
            "IMAGE[0]: not an image",
        ),
        "bomb that Pillow refuses": (
            encoded(Image.new("L", (14_000, 14_000)), "PNG"),
            "IMAGE[0]: the image has too many pixels",
        ),
        "50 MB": (bytes(50_000_000), "IMAGE[0]: the image has 50000000 bytes"),
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_image_is_named_over_rest(name: str, server: Any, body: Any, assert_serves: Any):
    data, phrase = bad_images(server.payload(0))[name]
    request = body([data])
    reply = httpx.post(
        server.url + PATH, content=request.content, headers=request.headers, timeout=60
    )
    assert reply.status_code == 400
    assert phrase in reply.json()["error"]
    assert_serves()


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_image_is_named_over_grpc(name: str, server: Any, assert_serves: Any):
    data, phrase = bad_images(server.payload(0))[name]
    with kserve.InferenceServerClient(f"127.0.0.1:{server.port('grpc')}") as client:
        images = kserve.InferInput("IMAGE", [1, 1], "BYTES")
        images.set_data_from_numpy(np.array([[data]], dtype=np.object_))
        with pytest.raises(InferenceServerException) as caught:
            client.infer("classify", [images], client_timeout=60)
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert phrase in caught.value.message()
    assert_serves()


def test_a_bad_image_fails_its_own_request_and_is_numbered(server: Any, body: Any):
    good = server.payload(0)
    request = body([good, b"not a picture", good])
    reply = httpx.post(
        server.url + PATH, content=request.content, headers=request.headers, timeout=60
    )
    assert reply.status_code == 400
    assert "IMAGE[1]: not an image" in reply.json()["error"]


def test_png_is_accepted(server: Any, body: Any):
    picture = encoded(Image.open(io.BytesIO(server.payload(0))), "PNG")
    request = body([picture])
    reply = httpx.post(
        server.url + PATH, content=request.content, headers=request.headers, timeout=60
    )
    assert reply.status_code == 200


Build = Callable[[Callable[..., Any], bytes], tuple[bytes, dict[str, str]]]


def built(build: Callable[..., Any], *args: Any, **lies: Any) -> tuple[bytes, dict[str, str]]:
    made = build(*args, **lies)
    return made.content, made.headers


# Name: (how to make the request, status, what the answer says). Triton's manners: not all are 4xx.
MALFORMED: dict[str, tuple[Build, int, str]] = {
    "empty body": (lambda body, good: (b"", {}), 400, "the image is empty"),
    "wrong content type": (
        lambda body, good: (good, {"Content-Type": "text/plain"}),
        500,
        "failed to parse the request JSON buffer",
    ),
    "broken JSON": (lambda body, good: (b'{"inputs": [', {}), 500, "failed to parse"),
    "JSON without inputs": (lambda body, good: (b"{}", {}), 500, "Unable to parse 'inputs'"),
    "fewer pictures than the shape says": (
        lambda body, good: built(body, [good], shape=[2, 1]),
        400,
        "expected 2 string elements",
    ),
    "wrong shape": (lambda body, good: built(body, [good], shape=[1]), 400, "unexpected shape"),
    "wrong datatype": (
        lambda body, good: built(body, [], raw=bytes(12), datatype="FP32", shape=[3, 1]),
        400,
        "data-type is 'FP32', but model 'classify' expects 'BYTES'",
    ),
    "unknown input": (
        lambda body, good: built(body, [good], name="PICTURE"),
        400,
        "unexpected inference input 'PICTURE'",
    ),
    "batch over the limit": (
        lambda body, good: built(body, [good] * 33),
        400,
        "batch-size must be <= 32",
    ),
    "a length that lies": (
        lambda body, good: built(body, [good], raw=struct.pack("<I", 1_000_000) + good),
        400,
        "incomplete string data",
    ),
    "header longer than the body": (
        lambda body, good: (good, {"Inference-Header-Content-Length": "99999999"}),
        400,
        "inference header size should be in range",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request_is_answered_as_the_readme_says(
    name: str, server: Any, body: Any, assert_serves: Any
):
    build, status, phrase = MALFORMED[name]
    content, headers = build(body, server.payload(0))
    reply = httpx.post(server.url + PATH, content=content, headers=headers, timeout=60)
    assert (reply.status_code, phrase in reply.text) == (status, True), reply.text
    assert_serves()


def test_a_client_batch_keeps_its_order(server: Any, body: Any):
    """The bug this would catch: rows given back to the wrong request or in another order."""
    pictures = [server.payload(i) for i in range(32)]

    def classes(elements: list[bytes]) -> list[int]:
        request = body(elements)
        reply = httpx.post(
            server.url + PATH, content=request.content, headers=request.headers, timeout=60
        )
        assert reply.status_code == 200, reply.text
        return next(o["data"] for o in reply.json()["outputs"] if o["name"] == "INDEX")

    together = classes(pictures)
    assert len(together) == 32 * 5
    alone = [classes([pictures[i]]) for i in (0, 7, 31)]
    assert alone == [together[i * 5 : i * 5 + 5] for i in (0, 7, 31)]
    assert len({tuple(rows) for rows in alone}) == 3, (
        "the pictures must differ for this to mean much"
    )


def test_an_unknown_model_is_not_found(server: Any, body: Any, assert_serves: Any):
    request = body([server.payload(0)])
    url = server.url + PATH.replace("classify", "nothing")
    reply = httpx.post(url, content=request.content, headers=request.headers, timeout=60)
    assert (reply.status_code, "unknown model" in reply.text) == (404, True)
    with kserve.InferenceServerClient(f"127.0.0.1:{server.port('grpc')}") as client:
        images = kserve.InferInput("IMAGE", [1, 1], "BYTES")
        images.set_data_from_numpy(np.array([[server.payload(0)]], dtype=np.object_))
        with pytest.raises(InferenceServerException) as caught:
            client.infer("nothing", [images], client_timeout=60)
    assert caught.value.status() == "StatusCode.NOT_FOUND"
    assert_serves()
