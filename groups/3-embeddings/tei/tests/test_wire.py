"""What k6.js sends and reads fits TEI's documentation: documented, never observed.

The bug this would catch: a field that TEI doesn't have, a vector read from the wrong place, and a
refusal or a short answer that is taken for an answer.
"""

import struct
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from inference_client import BadInput, InferenceError, Overloaded, connect

FOLDER = Path(__file__).resolve().parents[1]
Ask = Callable[[str, list[str]], list[dict[str, Any]]]
TEXT = "What is Deep Learning?"
VECTOR = [0.0, 1.0, 2.0]


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, content: bytes) -> bytes:
    """A length-delimited protobuf field, as the wire format has it."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def grpc_answer(vector: list[float]) -> bytes:
    """EmbedResponse by hand: embeddings (1, packed) and metadata (2), whose compute_tokens is 2."""
    return field(1, struct.pack(f"<{len(vector)}f", *vector)) + field(2, b"\x10\x06")


@pytest.mark.parametrize(
    ("interface", "example"),
    [("rest", "rest"), ("openai", "openai float"), ("openai", "openai base64")],
)
def test_documented_answers_are_read(
    interface: str, example: str, ask: Ask, responder: Any, documented: dict[str, Any]
) -> None:
    responder.status = documented["answers"][example]["status"]
    responder.body = documented["answers"][example]["body"]
    (said,) = ask(interface, [TEXT])
    assert (said["error"], said["answer"]) == (None, VECTOR)


@pytest.mark.parametrize("interface", ["rest", "openai"])
def test_requests_are_what_is_documented(
    interface: str, ask: Ask, responder: Any, documented: dict[str, Any]
) -> None:
    """Also that a text arrives as it is: a wrong encoding would embed something else."""
    odd = 'é 漢字 \U0001f642 "quoted" \\ \n end'
    answer = documented["answers"]["rest" if interface == "rest" else "openai float"]
    responder.status, responder.body = 200, answer["body"]
    ask(interface, [TEXT, odd])
    form = documented["requests"][interface]
    texts: list[str] = []
    for path, body in responder.asked:
        assert path == form["path"]
        assert set(form["required"]) <= set(body) <= set(form["known"])
        texts += body[form["required"][0]]
    assert texts == [TEXT, odd]


@pytest.mark.parametrize("status", ["400", "413", "422", "424", "429"])
@pytest.mark.parametrize("interface", ["rest", "openai"])
def test_documented_refusals_are_no_answers(
    interface: str, status: str, ask: Ask, responder: Any, documented: dict[str, Any]
) -> None:
    responder.status, responder.body = int(status), documented["refusals"][interface][status]
    (said,) = ask(interface, [TEXT])
    words = responder.body.get("error") or responder.body.get("message")
    assert said["answer"] is None
    assert said["error"].startswith(f"HTTP {status}: ") and words in said["error"]


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ([], "0 vectors for 1 texts"),
        ([VECTOR, VECTOR], "2 vectors for 1 texts"),
        ([[]], "a vector is empty or shorter"),
        ({"error": "?"}, "undefined vectors for 1 texts"),
    ],
)
def test_what_is_no_answer_is_not_taken_for_one(
    body: Any, fault: str, ask: Ask, responder: Any
) -> None:
    responder.status, responder.body = 200, body
    (said,) = ask("rest", [TEXT])
    assert said["answer"] is None
    assert fault in said["error"]


def placed(*places: int) -> dict[str, Any]:
    """An answer of /v1/embeddings whose vectors say that they are of these texts."""
    return {"data": [{"embedding": VECTOR, "index": place} for place in places]}


@pytest.mark.parametrize(
    ("interface", "body", "fault"),
    [
        ("rest", [VECTOR, VECTOR], ""),
        ("rest", [VECTOR], "1 vectors for 2 texts"),
        ("rest", [VECTOR, VECTOR[:2]], "a vector is empty or shorter"),
        ("openai", placed(0, 1), ""),
        ("openai", placed(1, 0), "the vector of text 1 is out of its place"),
    ],
)
def test_two_texts_in_a_request(
    interface: str, body: Any, fault: str, ask: Ask, responder: Any
) -> None:
    """Each has its vector, in its place: else one is counted that never came."""
    responder.status, responder.body = 200, body
    records = ask(interface, [TEXT, "What is shallow learning?"], together=2)
    assert {
        len(asked["inputs" if interface == "rest" else "input"]) for _, asked in responder.asked
    } == {2}
    assert records and all((record["error"] == "") == (fault == "") for record in records)
    assert all(fault in record["error"] for record in records)


def test_several_texts_are_never_asked_for_over_grpc(ask: Ask, responder: Any) -> None:
    """Embed takes one: of several, the first would be answered and all be counted."""
    responder.status, responder.body = 0, grpc_answer(VECTOR)
    with pytest.raises(AssertionError, match=r"test aborted: .*takes one text a call"):
        ask("grpc", [TEXT, "What is shallow learning?"], together=2)
    assert not responder.asked


def test_grpc_request_and_answer(ask: Ask, responder: Any) -> None:
    """By the field numbers of proto/tei.proto: inputs 1, truncate 2, normalize 3."""
    responder.status, responder.body = 0, grpc_answer(VECTOR)
    (said,) = ask("grpc", [TEXT])
    assert (said["error"], said["answer"]) == (None, VECTOR)
    ((method, message),) = responder.asked
    assert method == "/tei.v1.Embed/Embed"
    sent = (field(1, TEXT.encode()), b"\x10\x01", b"\x18\x01")
    assert message in {b"".join(fields) for fields in permutations(sent)}


@pytest.mark.parametrize("code", ["8", "3"])
def test_grpc_refusals_are_no_answers(
    code: str, ask: Ask, responder: Any, documented: dict[str, Any]
) -> None:
    responder.status, responder.body = int(code), documented["refusals"]["grpc"][code]
    (said,) = ask("grpc", [TEXT])
    assert said["answer"] is None
    assert said["error"].startswith(f"gRPC {code} ") and responder.body in said["error"]


@pytest.mark.parametrize(
    ("interface", "example"), [("rest", "rest"), ("openai", "openai float"), ("grpc", None)]
)
def test_the_studys_client_reads_the_documentation_too(
    interface: str, example: str | None, responder: Any, documented: dict[str, Any]
) -> None:
    """What it sends has no field that TEI doesn't know, and answers and refusals are told apart."""
    over_grpc = example is None
    responder.asked.clear()
    responder.status = 0 if over_grpc else 200
    responder.body = grpc_answer(VECTOR) if over_grpc else documented["answers"][example]["body"]
    refusals = documented["refusals"][interface]
    with connect(FOLDER, interface, ports=responder.ports) as stack:
        assert stack.embed([TEXT]) == [tuple(VECTOR)]
        ((path, asked),) = responder.asked
        if over_grpc:
            assert path == "/tei.v1.Embed/Embed"
            assert asked == field(1, TEXT.encode()) + b"\x10\x01\x18\x01"
        else:
            form = documented["requests"][interface]
            assert path == form["path"] and asked[form["required"][0]] == [TEXT]
            assert set(asked) <= set(form["known"])
        kinds = {"3": BadInput, "8": Overloaded, "424": BadInput, "429": Overloaded}
        for status, kind in kinds.items():
            if status in refusals:
                responder.status, responder.body = int(status), refusals[status]
                with pytest.raises(InferenceError) as caught:
                    stack.embed([TEXT])
                assert type(caught.value) is kind
