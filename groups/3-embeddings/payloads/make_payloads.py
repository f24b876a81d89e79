"""Take the texts from Python's own documentation, as Debian's package python3.11-doc ships it.

Usage: python -P make_payloads.py FOLDER        (the package's html folder, unpacked)

Standard library only. Not part of a build: manifest.json is committed, with every text in it.
"""

import json
import random
import re
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SEED = 20_261_121
PAGES = ("tutorial", "howto", "library", "faq", "reference")
UNIFORM, SHORT, LONG, HELD_BACK = 616, 528, 72, 16
UNIFORM_WORDS = range(14, 23)
SHORT_WORDS = range(2, 8)
LONG_WORDS = range(120, 221)  # from half of the models' limits to beyond them
VOID = {"br", "img", "hr", "input", "link", "meta"}


@dataclass
class Page(HTMLParser):
    """Headings and paragraphs of one page, as running text."""

    headings: list[str] = field(default_factory=list)
    paragraphs: list[str] = field(default_factory=list)
    _into: list[str] | None = None
    _words: str = ""
    _skip: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._skip:
            self._skip += tag not in VOID
        elif dict(attrs).get("class") in ("headerlink", "versionmodified", "sphinxsidebar"):
            self._skip = 1
        elif tag in ("h1", "h2", "h3", "p"):
            self._into, self._words = (self.paragraphs if tag == "p" else self.headings), ""

    def handle_endtag(self, tag: str) -> None:
        if self._skip:
            self._skip -= tag not in VOID
        elif tag in ("h1", "h2", "h3", "p") and self._into is not None:
            self._into.append(" ".join(self._words.split()))
            self._into = None

    def handle_data(self, data: str) -> None:
        if self._into is not None and not self._skip:
            self._words += data


def read(folder: Path) -> dict[str, Page]:
    """{page: its texts} of the parts of the documentation that are prose."""
    pages: dict[str, Page] = {}
    for part in PAGES:
        for file in sorted((folder / part).glob("*.html")):
            page = Page()
            page.feed(file.read_text(encoding="utf-8"))
            pages[f"{part}/{file.name}"] = page
    return pages


def sentences(paragraph: str) -> list[str]:
    """Whole sentences of a paragraph."""
    parts = re.split(r"(?<=[a-z)][.?!]) (?=[A-Z])", paragraph)
    return [part for part in parts if re.fullmatch(r"[A-Z].*[a-z)][.?!]", part)]


class Drawing:
    """Texts in a seeded order, none of them twice."""

    def __init__(self) -> None:
        self._random = random.Random(SEED)
        self._taken: set[str] = set()

    def take(self, found: list[tuple[str, str]], words: range, count: int) -> list[tuple[str, str]]:
        """`count` of the (page, text) whose number of words is in the range."""
        found = [pair for pair in found if len(pair[1].split()) in words]
        self._random.shuffle(found)
        taken: list[tuple[str, str]] = []
        for page, text in found:
            if text.lower() not in self._taken and len(taken) < count:
                self._taken.add(text.lower())
                taken.append((page, text))
        if len(taken) < count:
            raise SystemExit(f"make_payloads: {len(taken)} texts of {words}, {count} wanted")
        return taken

    def mix(self, texts: list[tuple[str, str]]) -> list[tuple[str, str]]:
        self._random.shuffle(texts)
        return texts


def entries(pages: dict[str, Page]) -> list[dict[str, Any]]:
    """The manifest: what loads send, what only the parity gate sends, what is held back."""
    drawing = Drawing()
    every = [(name, text) for name, page in pages.items() for text in page.paragraphs]
    single = [(name, one) for name, text in every for one in sentences(text)]
    heads = [
        (name, re.sub(r"^[\d.]+\s*", "", text))
        for name, page in pages.items()
        for text in page.headings
    ]
    joined = [(name, f"{a} {b}") for name, page in pages.items() for a, b in pairs(page.paragraphs)]
    uniform = drawing.take(single, UNIFORM_WORDS, UNIFORM + HELD_BACK)
    short = drawing.take(heads, SHORT_WORDS, SHORT)
    long = drawing.take(joined, LONG_WORDS, LONG)
    skewed = drawing.mix(short + long)
    made: list[dict[str, Any]] = [
        {"name": f"text-{i:04}", "source": page, "text": text}
        for i, (page, text) in enumerate(skewed, 1)
    ]
    made += [
        {"name": f"uniform-{i:04}", "set": "uniform", "source": page, "text": text}
        for i, (page, text) in enumerate(uniform[:UNIFORM], 1)
    ]
    # Some of each are probes too: what a load sends is what is compared.
    for entry in (*made[:16], *made[SHORT + LONG : SHORT + LONG + 8]):
        entry["probe"] = True
    made += odd()
    made += [
        {"name": f"held-{i:02}", "audit": True, "source": page, "text": text}
        for i, (page, text) in enumerate(uniform[UNIFORM:], 1)
    ]
    return made


def pairs(paragraphs: list[str]) -> list[tuple[str, str]]:
    """Each paragraph with the one after it, no paragraph in two pairs."""
    return list(zip(paragraphs[::2], paragraphs[1::2], strict=False))


def odd() -> list[dict[str, Any]]:
    """probes.json: texts that only the gate sends, written for it."""
    texts = json.loads((HERE / "probes.json").read_text(encoding="utf-8"))
    return [
        {"name": name, "set": "probe", "probe": True, "source": "probes.json", "text": text}
        for name, text in texts.items()
    ]


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not (Path(arguments[0]) / "tutorial").is_dir():
        print("make_payloads: name the html folder of python3.11-doc", file=sys.stderr)
        return 2
    lines = (json.dumps(entry, ensure_ascii=False) for entry in entries(read(Path(arguments[0]))))
    text = "[\n" + ",\n".join(lines) + "\n]\n"
    (HERE / "manifest.json").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
