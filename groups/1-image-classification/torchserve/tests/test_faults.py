"""What each fault gets, as README.md's table says; after each, both interfaces serve."""

import io
import json
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest
from PIL import Image

PATH = "/predictions/resnet50"
JPEG = {"content-type": "image/jpeg"}
JSON = {"content-type": "application/json"}


@pytest.fixture(autouse=True)
def serves_afterwards(server: Any, http: httpx.Client, predict: Any) -> Iterator[None]:
    yield
    assert server.alive()
    assert http.post(PATH, content=server.payload(0), headers=JPEG).status_code == 200
    assert "predictions" in json.loads(predict({"data": server.payload(0)}))


def assert_refused(response: httpx.Response, status: int, *words: str) -> None:
    assert response.status_code == status, response.text
    body = response.json()
    assert body["code"] == status
    for word in words:
        assert word in body["message"]


def assert_grpc_refused(answer: bytes, status: int, *words: str) -> None:
    """TorchServe gives a gRPC request that its handler refused the status OK: the body tells."""
    body = json.loads(answer)
    assert body["code"] == status
    for word in words:
        assert word in body["message"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, ["empty"]),
        (b"this is not a picture", 400, ["21 bytes", "not an image"]),
        (b'{"instances": [', 400, ["broken JSON"]),
    ],
    ids=["empty", "text", "broken-json"],
)
def test_not_an_image(http: httpx.Client, predict: Any, body: bytes, status: int, words: list[str]):
    assert_refused(http.post(PATH, content=body, headers=JPEG), status, *words)
    assert_grpc_refused(predict({"data": body}), status, *words)


def test_truncated_jpeg(server: Any, http: httpx.Client, predict: Any):
    """Half a picture is refused, not classified with a grey lower half."""
    half = server.payload(0)[: len(server.payload(0)) // 2]
    assert_refused(http.post(PATH, content=half, headers=JPEG), 400, "truncated")
    assert_grpc_refused(predict({"data": half}), 400, "truncated")


def test_bomb_of_100_megapixels(http: httpx.Client, predict: Any, bomb: bytes):
    assert_refused(http.post(PATH, content=bomb, headers=JPEG), 413, "10000x10000", "pixels")
    assert_grpc_refused(predict({"data": bomb}), 413, "10000x10000", "pixels")


def test_narrow_picture(http: httpx.Client):
    """A megapixel that scaling would turn into 65 gigapixels."""
    buffer = io.BytesIO()
    Image.new("L", (1_000_000, 1)).save(buffer, "PNG")
    assert_refused(http.post(PATH, content=buffer.getvalue(), headers=JPEG), 413, "1000000x1")


def test_icon(http: httpx.Client):
    """Pillow decodes what an ICO holds before anyone can look at its size. Broken by formats that
    nobody asked for: 2 MB of one took ten seconds and 3 GB."""
    buffer = io.BytesIO()
    Image.new("L", (8_000, 8_000)).save(buffer, "PNG")
    # One entry, which says 16 x 16: where it begins, after two headers, and how long it is.
    entry = struct.pack("<4B2H2I", 16, 16, 0, 0, 1, 32, len(buffer.getvalue()), 6 + 16)
    icon = struct.pack("<3H", 0, 1, 1) + entry + buffer.getvalue()
    assert_refused(http.post(PATH, content=icon, headers=JPEG), 400, "not an image")


@pytest.mark.parametrize(
    ("size", "together"), [((7_000, 7_000), "147,000,000"), ((1, 700), "137,625,600")]
)
def test_more_pixels_than_a_worker_has_time_for(
    http: httpx.Client, predict: Any, size: tuple[int, int], together: str
):
    """Three pictures of 49 megapixels, or of 46 once they are scaled, each allowed by itself.

    Broken by a limit a picture alone, or one that forgets scaling: 32 of them outlast the worker's
    time, and it is killed with the other callers' answers.
    """
    buffer = io.BytesIO()
    Image.new("L", size).save(buffer, "PNG")
    images = {str(i): buffer.getvalue() for i in range(3)}
    files = {name: (name, image) for name, image in images.items()}
    assert_refused(http.post(PATH, files=files), 413, f"{together} pixels together")
    assert_grpc_refused(predict(images), 413, f"{together} pixels together")


def test_as_many_pixels_as_a_request_may_have(http: httpx.Client):
    """Two of 49 megapixels are answered. Broken by a limit that counts wrongly."""
    buffer = io.BytesIO()
    Image.new("L", (7_000, 7_000)).save(buffer, "PNG")
    files = {name: (name, buffer.getvalue()) for name in "01"}
    assert len(http.post(PATH, files=files).json()["results"]) == 2


@pytest.mark.parametrize("chunked", [False, True])
def test_body_of_50_megabytes(http: httpx.Client, chunked: bool):
    """Netty's own 413, without a word."""
    block = bytes(1_000_000)
    response = http.post(PATH, content=iter([block] * 50) if chunked else block * 50, headers=JPEG)
    assert (response.status_code, response.content) == (413, b"")


def test_message_of_50_megabytes(predict: Any):
    """The stream is reset while it is being sent: which code the caller sees is gRPC's choice."""
    with pytest.raises(grpc.RpcError) as caught:
        predict({"data": bytes(50_000_000)})
    assert caught.value.code() in (
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
    )


def test_text_by_its_content_type(http: httpx.Client):
    response = http.post(PATH, content=b"hello", headers={"content-type": "text/plain"})
    assert_refused(response, 415, "text or JSON", "JPEG or PNG")


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "image/webp", None])
def test_wrong_content_type_of_an_image(http: httpx.Client, server: Any, content_type: str | None):
    """TorchServe falls back to the bytes as they are: the image is classified."""
    headers = {"content-type": content_type} if content_type else {}
    response = http.post(PATH, content=server.payload(0), headers=headers)
    assert "predictions" in response.json()


def test_image_sent_as_a_form(http: httpx.Client, server: Any):
    """What `curl --data-binary` does without -H: Netty reads the JPEG as form fields."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    response = http.post(PATH, content=server.payload(0), headers=headers)
    assert response.status_code >= 400
    assert "predictions" not in response.text


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b'{"instances": [', 400, ["broken JSON"]),
        (b'{"instances": [[1, 2, 3]]}', 400, ["instance 0", "b64"]),
        (b'{"instances": [{"b64": "%%%"}]}', 400, ["instance 0", "base64"]),
        (b'{"instances": []}', 400, ["0 images"]),
        (b'{"pixels": 1}', 400, ["instances"]),
        (b"[1, 2, 3]", 415, ["JSON", "not an image"]),
    ],
)
def test_wrong_json(http: httpx.Client, body: bytes, status: int, words: list[str]):
    assert_refused(http.post(PATH, content=body, headers=JSON), status, *words)


def test_batch_over_the_limit(http: httpx.Client, predict: Any, server: Any):
    images = {str(i): server.payload(0) for i in range(33)}
    files = {name: (name, image, "image/jpeg") for name, image in images.items()}
    assert_refused(http.post(PATH, files=files), 413, "33 images", "32")
    assert_grpc_refused(predict(images), 413, "33 images", "32")


def test_bad_image_in_a_clients_batch(http: httpx.Client, predict: Any, server: Any):
    """The whole request fails, and the message says which part."""
    images = {"0": server.payload(0), "1": b"nonsense"}
    files = {name: (name, image, "image/jpeg") for name, image in images.items()}
    assert_refused(http.post(PATH, files=files), 400, "1: ", "not an image")
    assert_grpc_refused(predict(images), 400, "1: ", "not an image")


def test_parts_of_one_name(http: httpx.Client, server: Any):
    """TorchServe keeps the last part of a name: two pictures, one answer."""
    files = [("image", ("a.jpg", server.payload(i), "image/jpeg")) for i in range(2)]
    results = http.post(PATH, files=files).json()["results"]
    alone = http.post(PATH, content=server.payload(1), headers=JPEG).json()
    assert [r["predictions"][0]["index"] for r in results] == [alone["predictions"][0]["index"]]


@pytest.mark.parametrize(
    "body",
    [
        b"no boundary",
        b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\nabc',
        b"--x--\r\n",
    ],
)
def test_broken_form(http: httpx.Client, body: bytes):
    headers = {"content-type": "multipart/form-data; boundary=x"}
    assert_refused(http.post(PATH, content=body, headers=headers), 400, "0 images")


def test_wrong_names(http: httpx.Client, predict: Any, server: Any):
    assert_refused(http.post("/predictions/nothing", content=b"x"), 404, "nothing")
    assert_refused(http.post("/nothing", content=b"x"), 404, "not found")
    for model in ("nothing", ""):
        with pytest.raises(grpc.RpcError) as caught:
            predict({"data": server.payload(0)}, model)
        assert caught.value.code() is grpc.StatusCode.INTERNAL  # TorchServe's word for it


def test_not_http_at_all(server: Any):
    with socket.create_connection(("127.0.0.1", server.port("http")), 10) as raw:
        raw.sendall(b"\x00\x01\x02 nonsense\r\n\r\n")
        assert b"400" in raw.recv(100)


def test_a_bad_image_fails_alone_in_the_servers_batch(http: httpx.Client, server: Any):
    """Requests that TorchServe puts into one batch with a bad one are still answered.

    Breaks if the handler raises: TorchServe then fails every request of the batch.
    """
    statuses: list[tuple[bool, int]] = []

    def ask(good: bool) -> None:
        body = server.payload(1) if good else b"nonsense"
        response = httpx.post(server.url + PATH, content=body, headers=JPEG, timeout=60)
        statuses.append((good, response.status_code))

    # Eight at once: while the first is executed, the others wait and become batches.
    threads = [threading.Thread(target=ask, args=(i % 2 == 0,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [(False, 400)] * 4 + [(True, 200)] * 4
