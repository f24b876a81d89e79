"""Bad input is refused with a sentence that names the fault; nothing of it is left behind."""

import asyncio
import json
import math
import re
import socket
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import psutil
import pytest
import websockets

from generation_asking import asked, figure, wait_for

pytestmark = pytest.mark.slow  # the model has to be built, which takes minutes
JSON = {"content-type": "application/json"}
GOOD = {"model": "gpt2", "prompt": "Hello", "max_tokens": 4}
LONG = {"model": "gpt2", "prompt": "Tell me", "max_tokens": 400, "ignore_eos": True}


@pytest.fixture(autouse=True)
def serves_afterwards(server: Any, http: httpx.Client, generate: Any) -> Iterator[None]:
    """After every test in this file: nothing in flight, no memory taken, both interfaces answer."""
    yield
    assert server.alive()
    wait_for(lambda: figure(http, "generate_in_flight_requests") == 0, "nothing in flight")
    wait_for(lambda: figure(http, "generate_kv_usage") == 0, "no memory taken")
    body = asked(server, "completion-000", max_tokens=2)
    assert http.post("/v1/completions", json=body).status_code == 200
    assert generate(prompt="Hello", max_tokens=2)[-1].finish_reason == "length"
    assert http.get("/ready").status_code == 200


BAD = {
    "empty prompt": ({"prompt": ""}, 400, "empty"),
    "no prompt": ({"prompt": None}, 400, "prompt"),
    "prompt over the context": ({"prompt": "word " * 2000}, 400, "1024"),
    "far more than any context": ({"prompt": "word " * 190_000}, 400, "950000 characters"),
    "ids that don't exist": ({"prompt": [1, 60_000]}, 400, "50256"),
    "several prompts": ({"prompt": ["one", "two"]}, 400, "one prompt"),
    "max_tokens 0": ({"max_tokens": 0}, 400, "max_tokens"),
    "max_tokens negative": ({"max_tokens": -3}, 400, "max_tokens"),
    "max_tokens huge": ({"max_tokens": 10**9}, 400, "1024"),
    "max_tokens no number": ({"max_tokens": "many"}, 400, "max_tokens"),
    "temperature negative": ({"temperature": -1}, 400, "temperature"),
    "top_p 0": ({"top_p": 0}, 400, "top_p"),
    "several answers": ({"n": 4}, 400, "n"),
    "unknown model": ({"model": "gpt-9"}, 404, "gpt-9"),
}


@pytest.mark.parametrize("fault", BAD)
@pytest.mark.parametrize("stream", [False, True])
def test_bad_requests(http: httpx.Client, fault: str, stream: bool):
    """A stream's faults are statuses too, not events of a 200."""
    change, status, word = BAD[fault]
    response = http.post("/v1/completions", json=GOOD | {"stream": stream} | change)
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert word in error["message"] and error["type"] == "invalid_request_error" and error["code"]


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (b"", 400, "empty"),
        (b'{"model": "gpt2", "prompt": ', 400, "JSON"),
        (b'{"model": "gpt2", "prompt": "a", "temperature": NaN}', 400, "temperature"),
        (b'{"model": "gpt2", "prompt": "a", "top_p": Infinity}', 400, "top_p"),
        (b'{"model": "gpt2", "prompt": "\xff\xfe"}', 400, "JSON"),
        (b"[1, 2]", 400, "object"),
        (b" " * 2_000_000, 413, "1000000"),
    ],
)
def test_bodies_that_are_none(http: httpx.Client, body: bytes, status: int, word: str):
    """Broken JSON, NaN, invalid UTF-8, a list, two megabytes."""
    response = http.post("/v1/completions", content=body, headers=JSON)
    assert response.status_code == status, response.text
    assert word in response.json()["error"]["message"]


def test_a_temperature_of_next_to_nothing_is_greedy(http: httpx.Client):
    """Breaks if logits are divided by it: they overflow, and the step fails for all."""
    said = [
        http.post("/v1/completions", json=GOOD | {"temperature": temperature, "top_p": top_p})
        for temperature in (0, 1e-6, 1e-38, 5e-324)
        for top_p in (1, 0.5)
    ]
    assert {response.status_code for response in said} == {200}
    assert len({response.json()["choices"][0]["text"] for response in said}) == 1


@pytest.mark.parametrize(
    ("route", "change"),
    [
        ("completions", {"prompt": [{}] * 300_000}),
        ("chat/completions", {"messages": [{}] * 300_000}),
        ("chat/completions", {"messages": [{"role": "user", "content": [{}] * 300_000}]}),
    ],
)
def test_a_body_full_of_faults_is_refused_at_the_first(
    http: httpx.Client, server: Any, route: str, change: dict[str, Any]
):
    """It is read on the event loop, where every stream waits for it. Breaks if each element's error
    is kept: three seconds of CPU a megabyte, and more than half a gigabyte."""
    body = json.dumps({"model": "gpt2", **change}, separators=(",", ":")).encode()
    process = psutil.Process(server.pid)
    before = process.cpu_times()
    for _ in range(5):
        response = http.post(f"/v1/{route}", content=body, headers=JSON)
        assert response.status_code == 400 and next(iter(change)) in response.text
    after = process.cpu_times()
    assert after.user + after.system - before.user - before.system < 2


def test_what_openapi_refers_to_is_there(http: httpx.Client):
    """Whoever generates a client from it finds each schema. Breaks if a nested one is left out."""
    document = http.get("/openapi.json").json()
    text = json.dumps(document)
    names = set(re.findall(r'"\$ref": "#/components/schemas/(\w+)"', text))
    assert names >= {"Message", "Part", "StreamOptions"}
    assert names <= set(document["components"]["schemas"])


def test_other_faults_of_http(http: httpx.Client):
    assert http.post("/v1/completions", content=b"{}").status_code == 415
    assert http.get("/v1/completions").status_code == 405
    assert http.get("/v1/models/gpt-9").status_code == 404
    for messages in ([], [{"role": "user", "content": ""}], [{"role": "king", "content": "a"}]):
        response = http.post("/v1/chat/completions", json={"model": "gpt2", "messages": messages})
        assert response.status_code == 400 and "messages" in response.text, response.text


def test_grpc_names_its_faults(generate: Any):
    for change, code in [
        ({"prompt": ""}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"prompt": "a", "max_tokens": 0}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"prompt": "a", "max_tokens": -3}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"prompt": "word " * 2000}, grpc.StatusCode.OUT_OF_RANGE),
        ({"prompt": "a" * 2_000_000}, grpc.StatusCode.RESOURCE_EXHAUSTED),
        ({"prompt": "a", "max_tokens": 10**6}, grpc.StatusCode.OUT_OF_RANGE),
        ({"prompt": "a", "temperature": math.nan}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"prompt": "a", "temperature": math.inf}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"prompt": "a", "top_p": -math.inf}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"prompt": "a", "model": "gpt-9"}, grpc.StatusCode.NOT_FOUND),
    ]:
        with pytest.raises(grpc.RpcError) as caught:
            generate(**change)
        assert caught.value.code() is code and caught.value.details()


def test_grpc_bytes_that_are_no_message(server: Any):
    """Invalid UTF-8 in a text, and bytes cut off. Breaks as INTERNAL, which callers take for the
    server's fault and ask again."""
    with grpc.insecure_channel(f"127.0.0.1:{server.port('grpc')}") as channel:
        call = channel.unary_stream("/study.generate.v1.Generator/Generate")
        for sent in (b"\x12\x02\xff\xfe", b"\x12\x7fcut"):
            with pytest.raises(grpc.RpcError) as caught:
                list(call(sent, timeout=60))
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "UTF-8" in (caught.value.details() or "")


def test_websocket_frames_that_are_no_requests(server: Any):
    """A bad request is answered and the connection goes on; a frame of another kind ends it."""

    async def scenario() -> None:
        async with websockets.connect(f"ws{server.url[4:]}/v1/stream") as ws:
            for frame, word in [
                ("{", "JSON"),
                ("[1]", "object"),
                ('{"model": "gpt2", "prompt": "a", "temperature": NaN}', "JSON"),
                *((json.dumps(GOOD | change), word) for change, _, word in BAD.values()),
            ]:
                await ws.send(frame)
                said = json.loads(await ws.recv())
                assert word in said["error"]["message"] and said["done"]
            await ws.send(b"\x00\x01")
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await ws.recv()
            assert closed.value.rcvd and closed.value.rcvd.code == 1003
        async with websockets.connect(f"ws{server.url[4:]}/v1/stream") as ws:
            await ws.send(b'{"model": "gpt2", "prompt": "\xff\xfe"}', text=True)
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await ws.recv()
            assert closed.value.rcvd and closed.value.rcvd.code == 1007  # invalid UTF-8
        async with websockets.connect(f"ws{server.url[4:]}/v1/stream") as ws:
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await ws.send("x" * 2_000_000)  # it may be closed before all of it is sent
                await ws.recv()
            assert closed.value.rcvd and closed.value.rcvd.code == 1009

    asyncio.run(scenario())


def open_stream(server: Any, **more: Any) -> socket.socket:
    """A raw connection that asks for a long answer."""
    body = json.dumps(LONG | {"stream": True} | more).encode()
    raw = socket.socket()
    raw.settimeout(60)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", server.port("http")))
    raw.sendall(
        b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        + f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return raw


def test_dropped_connections_leave_nothing(http: httpx.Client, server: Any):
    """Sixty streams hung up on mid-way: within a step their memory is free (the fixture asks).

    Breaks if an answer goes on for nobody: the sixty would take 24,000 tokens, half a minute and
    more.
    """
    made = figure(http, "generate_tokens_total")
    for _ in range(3):
        streams = [open_stream(server) for _ in range(20)]
        for stream in streams:
            assert stream.recv(64).startswith(b"HTTP/1.1 200")
            stream.close()
    wait_for(lambda: figure(http, "generate_in_flight_requests") == 0, "nothing in flight")
    assert figure(http, "generate_tokens_total") - made < 6000


def test_a_thousand_dropped_connections(http: httpx.Client, server: Any):
    """The same at length, some of them refused."""
    for _ in range(20):
        streams = [open_stream(server) for _ in range(50)]
        for stream in streams:
            stream.recv(64)
            stream.close()
    wait_for(lambda: figure(http, "generate_in_flight_requests") == 0, "nothing in flight")


def test_dropped_websockets_and_calls_leave_nothing(http: httpx.Client, server: Any, begin: Any):
    """Sixty of each, gone after their first words.

    Breaks if an answer goes on for nobody, be it only until nobody has taken 64 of its tokens.
    """

    async def hang_up() -> None:
        async with websockets.connect(f"ws{server.url[4:]}/v1/stream") as ws:
            await ws.send(json.dumps(LONG))
            assert json.loads(await ws.recv())["text"]
            ws.transport.abort()

    async def hang_up_together() -> None:
        await asyncio.gather(*(hang_up() for _ in range(20)))

    def nothing_goes_on(made: float) -> None:
        wait_for(lambda: figure(http, "generate_in_flight_requests") == 0, "nothing in flight")
        assert figure(http, "generate_tokens_total") - made < 20 * 32

    for _ in range(3):
        made = figure(http, "generate_tokens_total")
        asyncio.run(hang_up_together())
        nothing_goes_on(made)
        calls = [begin(prompt="Tell me", max_tokens=400) for _ in range(20)]
        for call in calls:
            assert next(call).text
        made = figure(http, "generate_tokens_total")
        for call in calls:
            call.cancel()
        nothing_goes_on(made)


def test_a_caller_that_leaves_the_queue(http: httpx.Client, server: Any, begin: Any):
    """Behind 32 that run, one of each kind asks and hangs up before its first word: it waits no
    longer.

    Breaks if a caller is only missed when something is sent to it.
    """

    def in_flight(number: int) -> None:
        wait_for(lambda: figure(http, "generate_in_flight_requests") == number, f"{number} asked")

    async def over_websocket() -> None:
        async with websockets.connect(f"ws{server.url[4:]}/v1/stream") as ws:
            await ws.send(json.dumps(LONG))
            await asyncio.to_thread(in_flight, 33)
            ws.transport.abort()

    running = [begin(prompt="Tell me", max_tokens=200) for _ in range(32)]
    for call in running:
        assert next(call).text
    asyncio.run(over_websocket())
    in_flight(32)
    stream = open_stream(server)
    in_flight(33)
    stream.close()
    in_flight(32)
    call = begin(prompt="Tell me", max_tokens=200)
    in_flight(33)
    call.cancel()
    in_flight(32)
    assert figure(http, "generate_running_sequences") == 32, "the queue moved meanwhile"
    for call in running:
        call.cancel()


def test_a_slow_reader_stalls_nobody(http: httpx.Client, server: Any):
    """One that takes nothing is served no further than its buffer (some 200 tokens of 800);
    another is served meanwhile.

    Breaks if a step waits for a send (the second answer never comes), or if what is not taken is
    kept without bound (then the slow one's answer runs to its end).
    """
    made = figure(http, "generate_tokens_total")
    slow = open_stream(server, max_tokens=800)
    try:
        body = asked(server, "completion-000")
        assert http.post("/v1/completions", json=body).status_code == 200
        wait_for(lambda: figure(http, "generate_in_flight_requests") == 0, "it was given up")
        assert figure(http, "generate_tokens_total") - made < 500
    finally:
        slow.close()


def test_slow_readers_of_other_kinds_stall_nobody(http: httpx.Client, server: Any, begin: Any):
    """A WebSocket and a gRPC call that are never read: another request is served meanwhile."""
    body = asked(server, "completion-000")

    async def beside_a_websocket() -> None:
        async with websockets.connect(f"ws{server.url[4:]}/v1/stream", max_queue=1) as ws:
            await ws.send(json.dumps(LONG))
            response = await asyncio.to_thread(http.post, "/v1/completions", json=body)
            assert response.status_code == 200
            assert figure(http, "generate_in_flight_requests") == 1, "the slow one had ended"

    asyncio.run(beside_a_websocket())
    call = begin(prompt="Tell me", max_tokens=400)
    assert http.post("/v1/completions", json=body).status_code == 200
    assert figure(http, "generate_in_flight_requests") == 1, "the slow one had ended"
    call.cancel()
