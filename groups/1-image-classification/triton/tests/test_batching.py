"""What stack.toml calls the largest batch is the largest batch."""

import re
from typing import Any

import httpx

PATH = "/v2/models/classify/infer"


def counted(server: Any, name: str) -> int:
    """What resnet50's counter stands at."""
    text = httpx.get(f"http://127.0.0.1:{server.port('metrics')}/metrics").text
    found = re.search(rf'^{name}{{model="resnet50".*}} (\d+)$', text, re.MULTILINE)
    assert found, text
    return int(found[1])


def test_a_full_client_batch_is_one_execution_of_max_batch(server: Any, body: Any):
    """Batch efficiency is mean executed batch / max_batch, so a full batch must come to 1.

    Broken by a max_batch that does not bound what is executed: 32 images were 4 times 8.
    """
    largest = server.stack.max_batch[server.running.env["DEVICE"]]
    names = ("nv_inference_count", "nv_inference_exec_count")
    before = [counted(server, name) for name in names]
    request = body([server.payload(0)] * largest)
    reply = httpx.post(
        server.url + PATH, content=request.content, headers=request.headers, timeout=60
    )
    assert reply.status_code == 200
    after = [counted(server, name) for name in names]
    assert [new - old for new, old in zip(after, before, strict=True)] == [largest, 1]
    one_more = body([server.payload(0)] * (largest + 1))
    reply = httpx.post(server.url + PATH, content=one_more.content, headers=one_more.headers)
    assert reply.status_code == 400
