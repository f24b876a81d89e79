"""HTML from templates: every value escaped, one file with all it needs, written whole."""

import base64
import hashlib
import os
from collections.abc import Callable
from datetime import datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import vl_convert
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from pages.names import times, written
from reports.load import HOW_TO_GET_SOME

TEMPLATES = Path(__file__).resolve().parent / "templates"
CACHE = TEMPLATES.parents[2] / ".build" / "cache"


@cache
def vega_bundle() -> str:
    """Vega with its expression interpreter as one script; bundling takes seconds, so it is kept."""

    def made() -> str:
        text = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
        # Its top-level names must not meet those of other scripts.
        return "(() => {" + text.replace("</script", "<\\/script") + "})();"

    return kept(f"vega-{version('vl-convert-python')}.js", made)


def kept(name: str, make: Callable[[], str]) -> str:
    """A text from the cache, made and put there if it lacks it. One that can't be put there only
    costs time: it is made again."""
    file = CACHE / name
    if file.exists():
        return file.read_text("utf-8")
    text = make()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write(file, text)
    except OSError:
        pass
    return text


def render(template: str, scripts: list[str], now: datetime, **values: Any) -> str:
    """A page from pages/templates, made `now`, every value escaped; its policy lets only `scripts`
    run, and on a watched page what they add."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["written"] = written
    environment.filters["ratio"] = _ratio
    figures = values.pop("figures", {})

    def charts(section: str) -> Markup:
        found = figures[section]
        text = environment.get_template("charts.html").render(figures=found) if found else ""
        return Markup(text)

    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in scripts
    )
    if values.get("watched"):
        hashes += " 'strict-dynamic'"
    # Vega's SVG carries style attributes; only our scripts run, and nothing else is loaded.
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:"
    )
    return environment.get_template(template).render(
        policy=policy,
        style=Markup((TEMPLATES / "page.css").read_text("utf-8")),
        charts=charts,
        how=HOW_TO_GET_SOME,
        made=now.strftime("%Y-%m-%d %H:%M UTC"),
        made_ms=int(now.timestamp() * 1000),
        **values,
    )


def write(file: Path, text: str) -> Path:
    """Write a page whole: a reader sees the old one or the new one."""
    # A name of this process's own: two may build at once.
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, "utf-8")
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    return file


def script(*names: str) -> str:
    """Scripts of pages/templates as one."""
    return "\n".join((TEMPLATES / name).read_text("utf-8") for name in names)


def _ratio(value: float | None) -> str:
    return "–" if value is None else times(value)
