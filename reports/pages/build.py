"""Builds the pages: asks the questions, makes sentences and charts, and puts each into a file."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pages import encode, sections
from pages.answers import Sentence, sentences
from pages.claims import measured, range_measured
from pages.data import data, file_name, in_order
from pages.facts import answer, told
from pages.names import written
from pages.pairs import between_interfaces, between_precisions, quality
from pages.render import render, script, vega_bundle, write
from pages.scales import Scales
from reports.load import Loaded

SECTIONS = (
    ("answer", "The answer"),
    ("compare", "Comparison"),
    ("load", "Load"),
    ("time", "Time and resources"),
    ("complexity", "Complexity"),
    ("cost", "Cost"),
    ("trust", "Trust"),
    ("claims", "Earlier claims"),
)
RUN_FACTS = {
    "started_at": "started",
    "finished_at": "finished",
    "profile": "profile",
    "machine_name": "machine",
    "memory_mb": "memory, MB",
    "kernel": "kernel",
    "governor": "CPU governor",
    "server_cpus": "the servers' CPUs",
    "client_cpus": "the generator's CPUs",
    "shared_cpus": "had to share CPUs",
    "steal_share": "CPU time taken by other guests, share",
    "calibration_error_p99_ms": "error against the null server's record, p99, ms",
    "slo_latency_ms": "limit: latency, ms",
    "slo_ttft_ms": "limit: first token, ms",
    "slo_tpot_ms": "limit: time per token, ms",
    "slo_share": "limit: share that must meet it",
    "git_commit": "commit",
    "git_dirty": "with uncommitted changes",
    "seed": "seed",
    "k6": "generator",
    "artefact_sha256": "artefact",
    "payloads_sha256": "payloads",
}
# What the index says of a group, and what only its own page shows.
SAID = ("workloads", "answers")
SHOWN = (
    "interfaces",
    "precisions",
    "quality",
    "points",
    "trials",
    "stacks",
    "runs",
    "verdicts",
    "complexity",
    "cost",
    "claims",
    "time",
)
Row = dict[str, Any]
# One script: they share their names.
PAGE = ("state.js", "rows.js", "drawing.js", "text.js", "downloads.js", "page.js")
WATCHED = {False: (), True: ("watch.js",)}


@dataclass(frozen=True)
class Built:
    """What the index says of a group's page."""

    file: str
    headline: str
    facts: Row


def build(
    loaded: Loaded, to: Path, group: str | None, again: str, watched: bool = False
) -> list[Path]:
    """Write index.html and a page a group (or only `group`'s) into `to`; returns the files.

    `watched`: the pages load themselves again when there are newer ones, as newest.js tells them.
    """
    to.mkdir(parents=True, exist_ok=True)
    warnings = [f"{len(loaded.warnings)} files left out: " + "; ".join(loaded.warnings[:5])]
    left_out = warnings if loaded.warnings else []
    built: list[Built] = []
    written: list[Path] = []
    now = datetime.now(UTC)
    for facts in answer(loaded.db, "groups"):
        name = f"{file_name(facts['group_id'])}.html"
        asked = _asked(loaded, facts, SAID)
        said = sentences(asked["workloads"], asked["answers"])
        if group in (None, facts["group_id"]):
            asked |= _asked(loaded, facts, SHOWN)
            html = _group(facts, asked, said, left_out, again, watched, now)
            written.append(write(to / name, html))
        answered = [one for one in said if one.answered] or said
        headline = "No answer: nothing was measured."
        if answered:
            first = answered[0]
            headline = f"{first.load_title}, {first.interface}: {first.text}"
        built.append(Built(name, headline[0].upper() + headline[1:], facts))
    program = script("index.js", *WATCHED[watched])
    index = render(
        "index.html",
        [program],
        now,
        groups=[one.facts | {"file": one.file, "headline": one.headline} for one in built],
        warnings=left_out,
        claims=[row | {"measured": range_measured(row)} for row in answer(loaded.db, "general")],
        about=told()["about"],
        watched=watched,
        program=Markup(program),
    )
    files = [write(to / "index.html", index), *written]
    if watched:
        # Written last: a page that it calls newer is there.
        times = {file.name: int(1000 * now.timestamp()) for file in files}
        write(to / "newest.js", f"newest({json.dumps(times)});\n")
    return files


def _asked(loaded: Loaded, facts: Row, questions: Iterable[str]) -> dict[str, list[Row]]:
    return {name: answer(loaded.db, name, group=facts["group_id"]) for name in questions}


def _group(
    facts: Row,
    asked: dict[str, list[Row]],
    said: list[Sentence],
    warnings: list[str],
    again: str,
    watched: bool,
    now: datetime,
) -> str:
    group = facts["group_id"]
    limits = in_order(one.limit for one in said if one.limit)
    titles = _titles(asked)
    used = sorted({row["stack"] for row in asked["trials"]})
    scales = Scales(
        tuple(titles.get(stack) or stack for stack in used),
        tuple(sorted({row["interface"] for row in asked["trials"]}, reverse=True)),
    )
    unit = asked["workloads"][0]["unit"] if asked["workloads"] else "units"
    figures = sections.figures(asked["points"], scales, unit, asked)
    charts = [one for part in figures.values() for one in part]
    given = data(group, unit, titles, asked, charts)
    program = script(*PAGE, *WATCHED[watched])
    vega = vega_bundle()
    return render(
        "group.html",
        [vega, program],
        now,
        group=facts,
        sections=SECTIONS,
        filters=given["filters"],
        sentences=said,
        limit=limits[0] if len(limits) == 1 else "",
        interfaces=between_interfaces(asked["interfaces"], asked["workloads"], titles),
        absent=_absent(asked["stacks"]),
        random=", ".join(
            in_order(row["model"] for row in asked["workloads"] if row["weights"] == "random")
        ),
        figures=figures,
        colours_repeat=scales.colours_repeat,
        stacks=asked["stacks"],
        runs=asked["runs"],
        run_facts=[
            (title, [written(run[name]) for run in asked["runs"]])
            for name, title in RUN_FACTS.items()
            if any(run[name] is not None for run in asked["runs"])
        ],
        claims=[row | {"measured": measured(row, unit)} for row in asked["claims"]],
        about=told()["about"],
        precisions=between_precisions(asked["precisions"], unit, titles),
        quality=quality(asked["quality"]),
        unpriced=sorted({r["machine_name"] for r in asked["cost"] if r["usd_per_hour"] is None}),
        priced=sorted(
            {
                f"{r['machine_name']}: ${r['usd_per_hour']:g} an hour as of {r['as_of']},"
                f" {r['source']}"
                for r in asked["cost"]
                if r["usd_per_hour"] is not None
            }
        ),
        warnings=warnings,
        again=again,
        watched=watched,
        total=len(asked["trials"]),
        data=Markup(encode.script(given)),
        vega=Markup(vega),
        program=Markup(program),
    )


def _titles(asked: dict[str, list[Row]]) -> dict[str, str]:
    """{stack: its title}; two stacks of one title keep their folders' names."""
    found = {row["stack"]: row["stack_title"] for row in asked["workloads"]}
    found |= {row["stack"]: row["title"] for row in asked["stacks"]}
    titles = list(found.values())
    return {stack: t if titles.count(t) == 1 else stack for stack, t in found.items()}


def _absent(stacks: list[Row]) -> list[str]:
    measured = {row["stack"] for row in stacks if row["status"] == "measured"}
    return in_order(
        f"{row['title']}: {row['status']}" + (f", {row['reason']}" if row["reason"] else "")
        for row in stacks
        if row["stack"] not in measured
    )
