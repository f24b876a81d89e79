"""Derive the committed prompts from Python's own documentation, as Debian ships its sources.

    apt-get download python3.11-doc && dpkg -x python3.11-doc_*.deb FOLDER
    python -P make_payloads.py FOLDER/usr/share/doc/python3.11/html/_sources

Nothing but the standard library. Not part of a build: the prompts are committed, with digests.
"""

import hashlib
import itertools
import json
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SEED = 20_261_102
# Lengths are log-normal, as they are in published traces, with this spread of the logarithm.
SIGMA = 0.55

ROLE = re.compile(r":[\w:+.-]+:`[!~]?([^`<]+?)(?:\s*<[^`>]*>)?`")
LINK = re.compile(r"`([^`<]+?)\s*<[^`>]*>`__?")
LITERAL = re.compile(r"``([^`]+)``")
EMPHASIS = re.compile(r"(?<![\w*])\*{1,2}([^*\s][^*]*)\*{1,2}(?!\w)")


def plain(text: str) -> str:
    """One paragraph of reStructuredText as plain words."""
    for pattern in (ROLE, LINK, LITERAL, EMPHASIS):
        text = pattern.sub(r"\1", text)
    return " ".join(text.replace("`", "").rstrip(":").split())


def paragraphs(source: str) -> Iterator[str]:
    """The prose of a page: no directives, literal blocks, lists or tables; ASCII only."""
    for block in re.split(r"\n\s*\n", source):
        lines = block.splitlines()
        if not block.strip() or lines[0][:1] in (" ", ".", ":", "*", "-", "#", "=", "|", "+", ">"):
            continue
        if any(re.fullmatch(r"([=~^\"'*+-])\1{2,}\s*", line) for line in lines):
            continue
        text = plain(block)
        if text.isascii() and len(text) > 80 and not re.search(r"::|\\|_\b\s|https?:", text):
            yield text


def questions(source: str) -> Iterator[str]:
    """Headings that ask something, as the FAQ's are."""
    lines = source.splitlines()
    for line, below in itertools.pairwise(lines):
        if line.endswith("?") and re.fullmatch(r"([=~^-])\1+\s*", below) and line.isascii():
            yield plain(line)


def cut(text: str, characters: int) -> str:
    """The beginning of a text, whole words only: what a completion goes on from."""
    return text if len(text) <= characters else text[:characters].rsplit(" ", 1)[0]


class Lengths:
    """Seeded log-normal lengths around a median, within limits."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def draw(self, median: float, low: int, high: int) -> int:
        return round(min(high, max(low, self._random.lognormvariate(0, SIGMA) * median)))


def make(pages: list[str]) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(name, payload, what the manifest says besides) of all payloads in their order."""
    prose = list(dict.fromkeys(text for page in pages for text in paragraphs(page)))
    asked = list(dict.fromkeys(text for page in pages for text in questions(page)))
    shuffle = random.Random(SEED)
    shuffle.shuffle(prose)
    shuffle.shuffle(asked)
    lengths = Lengths(SEED)
    made: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
    rest = iter(prose)

    for number in range(264):
        held = number >= 256  # the audit's: of one shape, so that only repetition differs
        wanted = 220 if held else lengths.draw(150, 24, 380)
        text = next(text for text in rest if len(text) >= wanted)
        tokens = 4 if held else lengths.draw(16, 4, 48)
        probe = {"probe": True} if number % 43 == 0 and not held else {}
        name = f"audit-{number - 256}" if held else f"completion-{number:03}"
        marks = {"audit": True} if held else probe
        made.append((name, {"prompt": cut(text, wanted), "max_tokens": tokens}, marks))
    for number in range(64):
        messages = [{"role": "user", "content": asked[number]}]
        if number % 2:  # half have something to read beside the question
            context = cut(next(rest), lengths.draw(120, 40, 240))
            messages.insert(0, {"role": "system", "content": f"Answer from this: {context}"})
        marks = {"set": "chat"} | ({"probe": True} if number in (0, 1) else {})
        payload = {"messages": messages, "max_tokens": lengths.draw(16, 4, 48)}
        made.append((f"chat-{number:02}", payload, marks))
    for number in range(32):
        wanted, text = lengths.draw(1100, 600, 2000), ""
        while len(text) < wanted:
            text = f"{text} {next(rest)}".strip()
        marks = {"set": "long"} | ({"probe": True} if number < 2 else {})
        payload = {"prompt": cut(text, wanted), "max_tokens": lengths.draw(16, 4, 48)}
        made.append((f"long-{number:02}", payload, marks))
    shared = ""
    while len(shared) < 1200:
        shared = f"{shared} {next(rest)}".strip()
    for number in range(16):
        ending = f"{shared}\n\nQuestion: {asked[64 + number]}\nAnswer:"
        marks = {"set": "prefix"} | ({"probe": True} if number < 2 else {})
        payload = {"prompt": ending, "max_tokens": lengths.draw(16, 8, 48)}
        made.append((f"prefix-{number:02}", payload, marks))
    return made


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not (Path(arguments[0]) / "faq").is_dir():
        print("make_payloads: give the folder _sources of Python's documentation", file=sys.stderr)
        return 2
    sources = Path(arguments[0])
    parts = ("faq", "tutorial", "howto", "library")
    files = sorted(file for part in parts for file in (sources / part).iterdir())
    pages = [file.read_text(encoding="utf-8") for file in files]
    folder = HERE / "prompts"
    folder.mkdir(exist_ok=True)
    entries: list[dict[str, Any]] = []
    for name, payload, marks in make(pages):
        data = json.dumps(payload, indent=1).encode() + b"\n"
        (folder / f"{name}.json").write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        file = f"prompts/{name}.json"
        entries.append({"name": name, "file": file, "sha256": digest, "bytes": len(data)} | marks)
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    (HERE / "manifest.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
