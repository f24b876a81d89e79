"""The real stacks, called over every interface in their stack.toml."""

import asyncio
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.artefact import read_payloads
from bench.cpus import split_cpus
from bench.errors import StackSkipped
from bench.folders import all_groups, find_stacks
from bench.group import load_group
from bench.progress import Reporter
from bench.serve import served
from bench.settings import read_settings
from bench.stack import load_stack
from inference_client import (
    Answer,
    InferenceError,
    Overloaded,
    TimedOut,
    Unreachable,
    connect,
    connect_async,
)
from inference_client.protocols import MODULES

TOLERANCE = 1e-3  # between ways to ask the same question; the parity gate compares with the model


def exercise(
    stack_dir: str | Path,
    ports: dict[str, int],
    payload_bytes: bytes,
    expected_index: int | None,
    model: str | None = None,
) -> Answer:
    """Ask a running stack over all its interfaces, sync and async, one image and a batch, then with
    bad input, and once more. `expected_index`: the right top class, None where it is too close to
    call. Returns the answer; raises AssertionError naming the interface and what differs.
    """
    tables = tomllib.loads((Path(stack_dir) / "stack.toml").read_text())["interfaces"]
    first: Answer | None = None
    for interface in tables:
        with connect(stack_dir, interface, ports=ports, model=model) as stack:
            (answer,) = stack.classify([payload_bytes])
            first = first or answer
            check(interface, answer, first, expected_index)
            for one in stack.classify([payload_bytes] * 3):
                check(f"{interface}, batch", one, first, expected_index)
            refused(interface, lambda stack=stack: stack.classify([b"this is text"]))
            (answer,) = stack.classify([payload_bytes])
            check(f"{interface}, after bad input", answer, first, expected_index)
        for answer in asyncio.run(ask_async(stack_dir, interface, ports, model, payload_bytes)):
            check(f"{interface}, async", answer, first, expected_index)
    assert first is not None
    return first


async def ask_async(
    stack_dir: str | Path, interface: str, ports: dict[str, int], model: str | None, image: bytes
) -> list[Answer]:
    """Two calls at the same time, one of them a batch."""
    async with connect_async(stack_dir, interface, ports=ports, model=model) as stack:
        answers = await asyncio.gather(stack.classify([image]), stack.classify([image] * 2))
    return [answer for group in answers for answer in group]


def check(where: str, answer: Answer, first: Answer, expected_index: int | None) -> None:
    """Five distinct classes, most probable first, and the same as the first answer."""
    assert len(answer) == 5, f"{where}: {len(answer)} predictions"
    assert len({p.index for p in answer}) == 5, f"{where}: an index twice in {answer}"
    probabilities = [p.probability for p in answer]
    assert probabilities == sorted(probabilities, reverse=True), f"{where}: unsorted {answer}"
    assert 0 < sum(probabilities) <= 1 + TOLERANCE, f"{where}: no probabilities in {answer}"
    assert all(p.label for p in answer), f"{where}: an empty label in {answer}"
    if expected_index is not None:
        assert answer[0].index == expected_index, f"{where}: {answer[0]}, not {expected_index}"
        assert (answer[0].label, answer[0].index) == (first[0].label, first[0].index), where
    for mine, other in zip(answer, first, strict=True):
        assert abs(mine.probability - other.probability) <= TOLERANCE, f"{where}: {mine}, {other}"


def refused(where: str, call: Any) -> None:
    """A named refusal, by the server."""
    try:
        answer = call()
    except (Overloaded, TimedOut, Unreachable) as error:
        raise AssertionError(f"{where}: bad input met {error!r}") from error
    except InferenceError as error:
        assert error.message, where
    else:
        raise AssertionError(f"{where}: bad input was answered with {answer}")


def stacks() -> list[Path]:
    """Every stack folder that answers with classes over interfaces this client speaks."""
    folders = find_stacks(all_groups(), None)
    return [
        folder
        for folder in folders
        if load_group(folder.parent).parity["kind"] == "top_k"
        and all(i.protocol in MODULES for i in load_stack(folder).interfaces)
    ]


@pytest.mark.parametrize("folder", stacks(), ids=lambda folder: folder.name)
def test_real_stack(folder: Path, tmp_path: Path) -> None:
    """The real server, started as a run starts it, answers this client over all its interfaces."""
    report = Reporter(Console(quiet=True))
    cpus = split_cpus(dict(os.environ))
    try:
        with served(folder, read_settings({}), cpus, tmp_path, report) as (running, artefact):
            payloads = read_payloads(load_group(folder.parent))
            sure = next(p for p in payloads if artefact.expected[p.name] is not None)
            index = int(artefact.expected[sure.name] or 0)
            exercise(folder, running.ports, sure.data(), index, artefact.model)
    except StackSkipped as skipped:
        pytest.skip(f"{folder.name} can't run here: {skipped}; {skipped.fix or ''}")


def test_the_exercise_itself(running: Any) -> None:
    """It passes on servers that are right, and says which interface is wrong."""
    answer = exercise(running.folder, running.ports, b"picture 7", 7, "resnet50")
    assert answer[0].label == "class 7 é"
    with pytest.raises(AssertionError, match=r"rest: .*not 8"):
        exercise(running.folder, running.ports, b"picture 7", 8, "resnet50")
