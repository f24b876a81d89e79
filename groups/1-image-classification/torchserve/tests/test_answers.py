"""Good requests: every form of them gives the artefact's own reference answers."""

import base64
import io
import json
from typing import Any

import httpx
import pytest
from PIL import Image

PATH = "/predictions/resnet50"
JPEG = {"content-type": "image/jpeg"}
TOLERANCE = 1e-3


def reference(server: Any, number: int) -> list[float]:
    answers = json.loads((server.artefact.folder / "reference.json").read_text())
    return answers[server.payloads[number].name]


def assert_right(server: Any, number: int, answer: dict[str, Any]) -> None:
    expected = reference(server, number)
    assert len(answer["predictions"]) == 5
    for prediction in answer["predictions"]:
        assert abs(prediction["probability"] - expected[prediction["index"]]) < TOLERANCE
    best = max(range(len(expected)), key=expected.__getitem__)
    assert expected[best] - expected[answer["predictions"][0]["index"]] < TOLERANCE


def test_every_payload(server: Any, http: httpx.Client, predict: Any):
    """Greyscale, CMYK and rotated ones are among them. Breaks with any other decoding."""
    assert len(server.payloads) >= 24
    for number in range(len(server.payloads)):
        response = http.post(PATH, content=server.payload(number), headers=JPEG)
        assert response.headers["content-type"] == "application/json"
        assert_right(server, number, response.json())
    assert_right(server, 3, json.loads(predict({"data": server.payload(3)})))


@pytest.mark.parametrize("size", [1, 8, 32])
def test_batches_keep_their_order(server: Any, http: httpx.Client, predict: Any, size: int):
    """A form, JSON and gRPC inputs are answered by number: "10" comes after "9"."""
    images = {str(i): server.payload(i % len(server.payloads)) for i in range(size)}
    backwards = dict(reversed(images.items()))  # a map has no order of its own
    instances = [{"b64": base64.b64encode(image).decode()} for image in images.values()]
    files = {name: (name, image, "image/jpeg") for name, image in backwards.items()}
    bodies = [
        http.post(PATH, files=files).json(),
        http.post(PATH, json={"instances": instances}).json(),
        json.loads(predict(backwards)),
    ]
    for body in bodies:
        assert len(body["results"]) == size
        for number, answer in enumerate(body["results"]):
            assert_right(server, number % len(server.payloads), answer)


def test_png_is_accepted(server: Any, http: httpx.Client):
    """A PNG of a JPEG's pixels has its answer."""
    with Image.open(io.BytesIO(server.payload(0))) as image:
        buffer = io.BytesIO()
        image.save(buffer, "PNG", exif=image.getexif())
    response = http.post(PATH, content=buffer.getvalue(), headers={"content-type": "image/png"})
    assert_right(server, 0, response.json())


def test_transparency_is_black(http: httpx.Client):
    answers: list[dict[str, Any]] = []
    for image in (Image.new("RGBA", (300, 300), (255, 0, 0, 0)), Image.new("RGB", (300, 300))):
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        answers.append(http.post(PATH, content=buffer.getvalue(), headers=JPEG).json())
    assert answers[0] == answers[1]


def test_metrics_count_what_was_executed(server: Any, http: httpx.Client):
    """One request of 9 images is two executions: `maxImages` is 8."""

    def counter(name: str) -> float:
        url = f"http://127.0.0.1:{server.port('metrics')}/metrics"
        lines = httpx.get(url).text.splitlines()
        return sum(float(x.rsplit(" ", 1)[1]) for x in lines if x.startswith(f"{name}{{"))

    names = ("items", "executions")
    before = [counter(f"classifier_batch_{name}") for name in names]
    files = {str(i): (str(i), server.payload(i), "image/jpeg") for i in range(9)}
    assert http.post(PATH, files=files).status_code == 200
    after = [counter(f"classifier_batch_{name}") for name in names]
    assert [b - a for a, b in zip(before, after, strict=True)] == [9, 2]
    assert counter("ts_queue_latency_microseconds") > 0
    assert counter("classifier_rest_requests") > 0
