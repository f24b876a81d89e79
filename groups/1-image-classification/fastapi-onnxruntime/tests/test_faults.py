"""Bad input is refused with a sentence that names the fault, and the next request is served."""

import io
import socket
import time
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest
from PIL import Image

JPEG = {"content-type": "image/jpeg"}


@pytest.fixture(autouse=True)
def serves_afterwards(server: Any, http: httpx.Client, classify: Any) -> Iterator[None]:
    """After every fault in this file the server answers a good request on both interfaces."""
    yield
    assert server.alive()
    assert http.post("/v1/classify", content=server.payload(0), headers=JPEG).status_code == 200
    assert len(classify(server.payload(0)).results) == 1
    assert http.get("/ready").status_code == 200


def assert_refused(response: httpx.Response, status: int, code: str, *words: str) -> None:
    assert response.status_code == status, response.text
    body = response.json()
    assert body["error"] == code
    for word in words:
        assert word in body["detail"]


def assert_invalid(classify: Any, images: list[bytes], *words: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        classify(*images)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    for word in words:
        assert word in caught.value.details()


def truncated(server: Any) -> bytes:
    return server.payload(0)[: len(server.payload(0)) // 2]


def test_empty_body(http: httpx.Client, classify: Any):
    response = http.post("/v1/classify", content=b"", headers=JPEG)
    assert_refused(response, 400, "empty_body", "empty")
    assert_invalid(classify, [], "no image")
    assert_invalid(classify, [b""], "empty")


def test_text(http: httpx.Client, classify: Any):
    response = http.post("/v1/classify", content=b"this is not a picture", headers=JPEG)
    assert_refused(response, 422, "not_an_image", "not a JPEG or PNG")
    assert_invalid(classify, [b"this is not a picture"], "not a JPEG or PNG")


def test_other_image_format(http: httpx.Client):
    """Only two of Pillow's decoders are open to the world."""
    buffer = io.BytesIO()
    Image.new("RGB", (300, 300)).save(buffer, "BMP")
    response = http.post(
        "/v1/classify",
        content=buffer.getvalue(),
        headers={"content-type": "application/octet-stream"},
    )
    assert_refused(response, 422, "not_an_image")


def test_truncated_jpeg(http: httpx.Client, classify: Any, server: Any):
    """Half a picture is refused, not classified with a grey lower half."""
    response = http.post("/v1/classify", content=truncated(server), headers=JPEG)
    assert_refused(response, 422, "broken_image", "truncated")
    assert_invalid(classify, [truncated(server)], "truncated")


def test_broken_png(http: httpx.Client, bomb: bytes):
    response = http.post("/v1/classify", content=bomb[:40], headers={"content-type": "image/png"})
    assert 400 <= response.status_code < 500, response.text


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bomb_of_100_megapixels(http: httpx.Client, classify: Any, bomb: bytes):
    """Refused by its header. Breaks if it is decoded first: that takes 100 MB and a second."""
    started = time.monotonic()
    response = http.post("/v1/classify", content=bomb, headers={"content-type": "image/png"})
    refused_s = time.monotonic() - started
    assert_refused(response, 413, "too_many_pixels", "pixels", "100000000")
    assert_invalid(classify, [bomb], "pixels")
    started = time.monotonic()
    with Image.open(io.BytesIO(bomb)) as image:
        image.convert("RGB")
    assert refused_s < time.monotonic() - started


def test_narrow_picture(http: httpx.Client):
    """1 × 1,000,000 pixels is a small picture whose resized one would have 65 gigapixels."""
    buffer = io.BytesIO()
    Image.new("L", (1_000_000, 1)).save(buffer, "PNG")
    response = http.post(
        "/v1/classify", content=buffer.getvalue(), headers={"content-type": "image/png"}
    )
    assert_refused(response, 413, "too_many_pixels", "narrow")


@pytest.mark.parametrize("chunked", [False, True])
def test_body_of_50_megabytes(http: httpx.Client, server: Any, chunked: bool):
    """Refused by its declared length, or where there is none when the limit is passed."""
    block = bytes(1_000_000)
    content = iter([block] * 50) if chunked else block * 50
    response = http.post("/v1/classify", content=content, headers=JPEG)
    assert_refused(response, 413, "body_too_large", "20000000 bytes")


def test_declared_50_megabytes_are_refused_unread(server: Any):
    """The answer is there before the first byte of the body."""
    with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])), 10) as raw:
        raw.sendall(
            b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
            b"Content-Length: 50000000\r\n\r\n"
        )
        assert raw.recv(100).startswith(b"HTTP/1.1 413 ")


def test_message_of_50_megabytes(classify: Any):
    with pytest.raises(grpc.RpcError) as caught:
        classify(bytes(50_000_000))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # gRPC's own word for it
    assert "larger than max" in caught.value.details()


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "image/webp", None])
def test_wrong_content_type(http: httpx.Client, server: Any, content_type: str | None):
    headers = {"content-type": content_type} if content_type else {}
    response = http.post("/v1/classify", content=server.payload(0), headers=headers)
    assert_refused(response, 415, "wrong_content_type", content_type or "missing", "image/jpeg")
    response = http.post("/v1/classify/batch", content=server.payload(0), headers=headers)
    assert_refused(response, 415, "wrong_content_type", "multipart/form-data")


def test_json_for_an_image(http: httpx.Client):
    """Broken JSON and a tensor of the wrong shape can't be sent: JSON is no content type here."""
    for body in (b'{"instances": [', b'{"instances": [[1, 2, 3]]}'):
        response = http.post(
            "/v1/classify", content=body, headers={"content-type": "application/json"}
        )
        assert_refused(response, 415, "wrong_content_type", "application/json")


def test_wrong_content_type_of_a_part(http: httpx.Client, server: Any):
    files = {"image": ("a.txt", server.payload(0), "text/plain")}
    response = http.post("/v1/classify", files=files)
    assert_refused(response, 415, "wrong_content_type", "part 0", "text/plain")


def test_batch_over_the_limit(http: httpx.Client, classify: Any, server: Any):
    image = server.payload(0)
    files = [("image", (f"{i}.jpg", image, "image/jpeg")) for i in range(33)]
    response = http.post("/v1/classify/batch", files=files)
    assert_refused(response, 413, "too_many_images", "at most 32")
    assert_invalid(classify, [image] * 33, "33 images", "at most 32")
    response = http.post("/v1/classify", files=files[:2])
    assert_refused(response, 413, "too_many_images", "at most 1")


def test_bad_image_in_a_batch_is_named(http: httpx.Client, classify: Any, server: Any):
    """The message says which of them, and the request fails as a whole."""
    images = [server.payload(0), server.payload(1), b"nonsense", server.payload(2)]
    typed = [("image", ("x.jpg", i, "image/jpeg")) for i in images]
    response = http.post("/v1/classify/batch", files=typed)
    assert_refused(response, 422, "not_an_image", "image 2")
    assert_invalid(classify, images, "image 2")


@pytest.mark.parametrize(
    ("content_type", "body", "word"),
    [
        ("multipart/form-data", b"--x\r\n", "boundary"),
        ("multipart/form-data; boundary=x", b"no boundary in here", "multipart"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\nabc',
            "closing boundary",
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nabc\r\n--x--\r\n',
            "'file'",
        ),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nabc\r\n--x--\r\n", "'image'"),
    ],
)
def test_broken_multipart(http: httpx.Client, content_type: str, body: bytes, word: str):
    for path in ("/v1/classify", "/v1/classify/batch"):
        response = http.post(path, content=body, headers={"content-type": content_type})
        assert_refused(response, 400, "bad_multipart", word)


PART = "--x\r\nContent-Disposition: form-data; {}\r\n\r\nabc\r\n--x--\r\n"


@pytest.mark.parametrize(
    ("content_type", "disposition", "code"),
    [
        ("multipart/form-data; boundary*=utf-8''x", 'name="image"', "bad_multipart"),
        ("multipart/form-data; boundary=" + "x" * 257, 'name="image"', "bad_multipart"),
        ("multipart/form-data; boundary=x; a*=b; a*0=c", 'name="image"', "wrong_content_type"),
        ("image/jpeg; a*=b; a*0=c", 'name="image"', "wrong_content_type"),
        (f"image/jpeg; a*{'9' * 5000}=b", 'name="image"', "wrong_content_type"),
        ("multipart/form-data; boundary=x", 'name="image"; a*=b; a*0=c', "bad_multipart"),
        ("multipart/form-data; boundary=x", "name*=utf-8''image", "bad_multipart"),
    ],
)
def test_hostile_headers(http: httpx.Client, content_type: str, disposition: str, code: str):
    """What Python's own parser of headers chokes on is the sender's fault.

    Breaks if what it raises, or returns in place of a string, becomes a 500.
    """
    for path in ("/v1/classify", "/v1/classify/batch"):
        response = http.post(
            path, content=PART.format(disposition), headers={"content-type": content_type}
        )
        status = {"bad_multipart": 400, "wrong_content_type": 415}[code]
        assert_refused(response, status, code)


def test_form_without_an_image(http: httpx.Client):
    headers = {"content-type": "multipart/form-data; boundary=x"}
    for path in ("/v1/classify", "/v1/classify/batch"):
        response = http.post(path, content=b"--x--\r\n", headers=headers)
        assert_refused(response, 400, "empty_body")


def test_wrong_method_and_path(http: httpx.Client):
    assert http.get("/v1/classify").status_code == 405
    assert http.post("/v1/nothing", content=b"x").status_code == 404


def test_not_http_at_all(server: Any):
    with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])), 10) as raw:
        raw.sendall(b"\x00\x01\x02 nonsense\r\n\r\n")
        assert b"400" in raw.recv(100)


def test_slow_clients_block_nobody(http: httpx.Client, server: Any):
    """Twenty uploads that stand still take nothing but twenty connections."""
    address = ("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
    started = time.monotonic()
    http.post("/v1/classify", content=server.payload(0), headers=JPEG).raise_for_status()
    alone_s = time.monotonic() - started
    slow = [socket.create_connection(address, 10) for _ in range(20)]
    try:
        for connection in slow:
            connection.sendall(
                b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
                b"Content-Length: 100000\r\n\r\n" + bytes(1000)
            )
        started = time.monotonic()
        http.post("/v1/classify", content=server.payload(0), headers=JPEG).raise_for_status()
        assert time.monotonic() - started < 5 * alone_s
    finally:
        for connection in slow:
            connection.close()
