"""Right answers, over every way to ask."""

import importlib.util
import io
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

TOLERANCE, TOLERANCE16 = 1e-3, 5e-3  # the group's parity tolerances for fp32 and fp16


def reference(server: Any, number: int) -> np.ndarray:
    answers = json.loads((server.artefact.folder / "reference.json").read_text())
    return np.asarray(answers[server.payloads[number].name])


def assert_right(
    predictions: list[dict[str, Any]], expected: np.ndarray, tolerance: float = TOLERANCE
) -> None:
    """Five named classes in falling order, each with the reference's probability."""
    assert len(predictions) == 5
    found = [p["probability"] for p in predictions]
    assert found == sorted(found, reverse=True)
    for p in predictions:
        assert p["label"]
        assert abs(p["probability"] - expected[p["index"]]) <= tolerance
    # what was left out is no more probable than what was returned
    others = np.delete(expected, [p["index"] for p in predictions])
    assert found[-1] >= others.max() - tolerance


@pytest.mark.parametrize("content_type", ["image/jpeg", "image/png", "application/octet-stream"])
def test_raw_body(http: httpx.Client, server: Any, content_type: str):
    """The bytes decide, not the declared type. Breaks if decoding differs from the definition."""
    response = http.post(
        "/v1/classify", content=server.payload(0), headers={"content-type": content_type}
    )
    assert response.status_code == 200
    assert_right(response.json()["predictions"], reference(server, 0))
    assert response.json()["model"] == "resnet50"
    assert response.json()["weights"] in ("pretrained", "random")


def test_multipart(http: httpx.Client, server: Any):
    """A form with one file is the same question."""
    response = http.post(
        "/v1/classify", files={"image": ("a.jpg", server.payload(1), "image/jpeg")}
    )
    assert response.status_code == 200
    assert_right(response.json()["predictions"], reference(server, 1))


def test_batch_keeps_the_order(http: httpx.Client, server: Any):
    """Result i belongs to part i. Breaks if answers are given out in order of completion."""
    count = min(len(server.payloads), 32)
    files = [("image", (f"{i}.jpg", server.payload(i), "image/jpeg")) for i in range(count)]
    response = http.post("/v1/classify/batch", files=files)
    assert response.status_code == 200, response.text
    results = response.json()["results"]
    assert len(results) == count >= 24
    for i, result in enumerate(results):
        assert_right(result["predictions"], reference(server, i))


def test_grpc_one_and_several(classify: Any, server: Any):
    """gRPC gives the answers that HTTP gives."""
    for numbers in ([0], [3, 2, 1]):
        results = classify(*(server.payload(i) for i in numbers)).results
        assert len(results) == len(numbers)
        for i, result in zip(numbers, results, strict=True):
            predictions = [
                {"label": p.label, "index": p.index, "probability": p.probability}
                for p in result.predictions
            ]
            assert_right(predictions, reference(server, i))


def test_fp16(another: Any, server: Any):
    """The fp16 graph's answers: near the reference, of rounded weights. Breaks if it isn't read."""
    off: list[float] = []
    with another(PRECISION="fp16") as (_, http):
        for i in range(4):
            headers = {"content-type": "image/jpeg"}
            reply = http.post("/v1/classify", content=server.payload(i), headers=headers)
            predictions = reply.json()["predictions"]
            assert_right(predictions, reference(server, i), TOLERANCE16)
            off += [abs(p["probability"] - reference(server, i)[p["index"]]) for p in predictions]
    assert max(off) > TOLERANCE / 10


def test_png_is_accepted(http: httpx.Client, classify: Any, server: Any):
    """A PNG of the decoded JPEG holds the same pixels, so the answer is the same."""
    buffer = io.BytesIO()
    number = next(
        i
        for i in range(len(server.payloads))
        if (image := Image.open(io.BytesIO(server.payload(i)))).mode == "RGB"
        and not image.getexif()
    )
    Image.open(io.BytesIO(server.payload(number))).save(buffer, "PNG")
    response = http.post(
        "/v1/classify", content=buffer.getvalue(), headers={"content-type": "image/png"}
    )
    assert response.status_code == 200
    assert_right(response.json()["predictions"], reference(server, number))
    assert len(classify(buffer.getvalue()).results) == 1


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "1", "I;16"])
def test_png_modes(http: httpx.Client, mode: str):
    """Every PNG mode is converted, none crashes the decoder."""
    buffer = io.BytesIO()
    Image.effect_mandelbrot((320, 240), (-3, -2.5, 2, 2.5), 100).convert(mode).save(buffer, "PNG")
    response = http.post(
        "/v1/classify", content=buffer.getvalue(), headers={"content-type": "image/png"}
    )
    assert response.status_code == 200, response.text


def test_a_transparent_colour(http: httpx.Client):
    """An RGB PNG may name a colour that is transparent (tRNS): it is black, as by the definition.

    Breaks if a picture that is RGB already is taken for one without transparency.
    """
    path = Path(__file__).resolve().parents[2] / "model" / "decode.py"
    spec = importlib.util.spec_from_file_location("definition_of_decoding", path)
    assert spec is not None and spec.loader is not None
    definition = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(definition)
    picture = Image.effect_mandelbrot((320, 240), (-3, -2.5, 2, 2.5), 100).convert("RGB")
    picture.paste((255, 255, 255), (0, 0, 160, 240))
    named, opaque, flat = io.BytesIO(), io.BytesIO(), io.BytesIO()
    picture.save(named, "PNG", transparency=(255, 255, 255))
    picture.save(opaque, "PNG")
    definition.upright_rgb(named.getvalue()).save(flat, "PNG")
    answers = [
        http.post("/v1/classify", content=p.getvalue(), headers={"content-type": "image/png"})
        for p in (named, opaque, flat)
    ]
    assert answers[0].json() == answers[2].json()
    assert answers[0].json() != answers[1].json(), "the colour makes no difference here"


def test_metrics_count_what_was_done(http: httpx.Client, classify: Any, server: Any):
    """Executed images equal answered images: the runner's batch figures rest on it."""

    def figures() -> dict[str, float]:
        lines = http.get("/metrics").text.splitlines()
        return {k: float(v) for k, v in (line.split(" ") for line in lines if line[0] != "#")}

    before = figures()
    files = [("image", ("a.jpg", server.payload(i), "image/jpeg")) for i in range(5)]
    assert http.post("/v1/classify/batch", files=files).status_code == 200
    classify(server.payload(0))
    after = figures()

    def grown(name: str) -> float:
        return after[name] - before[name]

    assert grown("classify_batch_images_sum") == 6
    assert 1 <= grown("classify_batch_images_count") <= 6
    assert grown("classify_queue_seconds_count") == 6
    assert grown("classify_inference_seconds_sum") > 0
    assert after['classify_pending_images{queue="single"}'] == 0
