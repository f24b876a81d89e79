"""What this server does with bad input is what README's table says, and it serves the next request.

The bug this would catch: a tokenize step that fails a whole batch, dies, or hides the fault.
"""

import json
import struct
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc as kserve
from tritonclient.utils import InferenceServerException

PATH = "/v2/models/embed/infer"
GOOD = "A text that there is nothing wrong with."

# Name: (the texts, what the answer must say).
BAD_TEXTS: dict[str, tuple[list[bytes], str]] = {
    "empty string": ([b""], "TEXT[0]: the text is empty"),
    "an empty string among others": (
        [GOOD.encode(), b"", GOOD.encode()],
        "TEXT[1]: the text is empty",
    ),
    "10 MB": ([b"word " * 2_000_000], "TEXT[0]: the text has 10000000 bytes"),
    "not UTF-8": ([b"caf\xe9"], "TEXT[0]: the text is not UTF-8"),
    "10,000 texts": ([b"text"] * 10_000, "batch-size must be <= 128"),
}


@pytest.mark.parametrize("name", BAD_TEXTS)
def test_a_bad_text_is_named_over_rest(name: str, server: Any, body: Any, assert_serves: Any):
    texts, phrase = BAD_TEXTS[name]
    request = body(texts)
    reply = httpx.post(
        server.url + PATH, content=request.content, headers=request.headers, timeout=60
    )
    assert reply.status_code == 400
    assert phrase in reply.json()["error"]
    assert_serves()


@pytest.mark.parametrize("name", BAD_TEXTS)
def test_a_bad_text_is_named_over_grpc(name: str, server: Any, assert_serves: Any):
    texts, phrase = BAD_TEXTS[name]
    with kserve.InferenceServerClient(f"127.0.0.1:{server.port('grpc')}") as client:
        tensor = kserve.InferInput("TEXT", [len(texts), 1], "BYTES")
        tensor.set_data_from_numpy(np.array(texts, dtype=np.object_)[:, None])
        with pytest.raises(InferenceServerException) as caught:
            client.infer("embed", [tensor], client_timeout=60)
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert phrase in caught.value.message()
    assert_serves()


Build = Callable[[Callable[..., Any]], tuple[bytes, dict[str, str]]]


def built(body: Callable[..., Any], texts: list[str], **lies: Any) -> tuple[bytes, dict[str, str]]:
    made = body(texts, **lies)
    return made.content, made.headers


def as_json(**described: Any) -> tuple[bytes, dict[str, str]]:
    whole = {"name": "TEXT", "datatype": "BYTES", "shape": [1, 1], "data": [GOOD]} | described
    return json.dumps({"inputs": [whole]}).encode(), {}


# Name: (how to make the request, status, what the answer says). Triton's manners: not all are 4xx.
MALFORMED: dict[str, tuple[Build, int, str]] = {
    "empty body": (lambda body: (b"", {}), 400, "TEXT[0]: the text is empty"),
    "empty list": (lambda body: built(body, []), 400, "expected 1 string elements"),
    "empty list as JSON": (
        lambda body: as_json(shape=[0, 1], data=[]),
        400,
        "expected 1 string elements",
    ),
    "a number instead of a text": (
        lambda body: as_json(data=[1]),
        500,
        "attempt to access JSON non-string as string",
    ),
    "null instead of a text": (
        lambda body: as_json(data=[None]),
        500,
        "attempt to access JSON non-string as string",
    ),
    "wrong datatype": (
        lambda body: built(body, [], raw=bytes(12), datatype="FP32", shape=[3, 1]),
        400,
        "data-type is 'FP32', but model 'embed' expects 'BYTES'",
    ),
    "wrong content type": (
        lambda body: (GOOD.encode(), {"Content-Type": "text/plain"}),
        500,
        "failed to parse the request JSON buffer",
    ),
    "broken JSON": (lambda body: (b'{"inputs": [', {}), 500, "failed to parse"),
    "JSON without inputs": (lambda body: (b"{}", {}), 500, "Unable to parse 'inputs'"),
    "fewer texts than the shape says": (
        lambda body: built(body, [GOOD], shape=[2, 1]),
        400,
        "expected 2 string elements",
    ),
    "wrong shape": (lambda body: built(body, [GOOD], shape=[1]), 400, "unexpected shape"),
    "unknown input": (
        lambda body: built(body, [GOOD], name="SENTENCE"),
        400,
        "unexpected inference input 'SENTENCE'",
    ),
    "129 texts": (lambda body: built(body, [GOOD] * 129), 400, "batch-size must be <= 128"),
    "a length that lies": (
        lambda body: built(body, [GOOD], raw=struct.pack("<I", 1_000_000) + GOOD.encode()),
        400,
        "incomplete string data",
    ),
    "header longer than the body": (
        lambda body: (GOOD.encode(), {"Inference-Header-Content-Length": "99999999"}),
        400,
        "inference header size should be in range",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request_is_answered_as_the_readme_says(
    name: str, server: Any, body: Any, assert_serves: Any
):
    build, status, phrase = MALFORMED[name]
    content, headers = build(body)
    reply = httpx.post(server.url + PATH, content=content, headers=headers, timeout=60)
    assert (reply.status_code, phrase in reply.text) == (status, True), reply.text
    assert_serves()


def test_an_empty_list_over_grpc(server: Any, assert_serves: Any):
    with kserve.InferenceServerClient(f"127.0.0.1:{server.port('grpc')}") as client:
        tensor = kserve.InferInput("TEXT", [0, 1], "BYTES")
        tensor.set_data_from_numpy(np.empty((0, 1), dtype=np.object_))
        with pytest.raises(InferenceServerException) as caught:
            client.infer("embed", [tensor], client_timeout=60)
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert_serves()


def test_a_wrong_datatype_over_grpc(server: Any, assert_serves: Any):
    with kserve.InferenceServerClient(f"127.0.0.1:{server.port('grpc')}") as client:
        tensor = kserve.InferInput("TEXT", [1, 1], "FP32")
        tensor.set_data_from_numpy(np.zeros((1, 1), dtype=np.float32))
        with pytest.raises(InferenceServerException) as caught:
            client.infer("embed", [tensor], client_timeout=60)
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert "data-type is 'FP32', but model 'embed' expects 'BYTES'" in caught.value.message()
    assert_serves()


def test_an_unknown_model_is_not_found(server: Any, body: Any, assert_serves: Any):
    request = body([GOOD])
    url = server.url + PATH.replace("embed", "nothing")
    reply = httpx.post(url, content=request.content, headers=request.headers, timeout=60)
    assert (reply.status_code, "unknown model" in reply.text) == (404, True)
    with kserve.InferenceServerClient(f"127.0.0.1:{server.port('grpc')}") as client:
        tensor = kserve.InferInput("TEXT", [1, 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[GOOD.encode()]], dtype=np.object_))
        with pytest.raises(InferenceServerException) as caught:
            client.infer("nothing", [tensor], client_timeout=60)
    assert caught.value.status() == "StatusCode.NOT_FOUND"
    assert_serves()
