"""Builds the pages: asks the questions, makes sentences and charts, and puts each into a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pages import encode, sections
from pages.answers import SETUP, Sentence, sentences, span
from pages.charts import Scales
from pages.data import data, file_name, in_order
from pages.facts import answer, told
from pages.names import NAMES
from pages.render import render, script, vega_bundle, write
from reports.load import Loaded
from reports.show import cell

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
Row = dict[str, Any]
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

    `watched`: the pages load themselves again while new ones come.
    """
    to.mkdir(parents=True, exist_ok=True)
    warnings = [f"{len(loaded.warnings)} files left out: " + "; ".join(loaded.warnings[:5])]
    left_out = warnings if loaded.warnings else []
    built: list[Built] = []
    written: list[Path] = []
    for facts in answer(loaded.db, "groups"):
        wanted = group is None or facts["group_id"] == group
        name = f"{file_name(facts['group_id'])}.html"
        said, html = _group(loaded, facts, left_out, again, watched)
        if wanted:
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
        groups=[one.facts | {"file": one.file, "headline": one.headline} for one in built],
        warnings=left_out,
        claims=[row | {"measured": _general(row)} for row in answer(loaded.db, "general")],
        about=told()["about"],
        watched=watched,
        program=Markup(program),
    )
    return [write(to / "index.html", index), *written]


def _group(
    loaded: Loaded, facts: Row, warnings: list[str], again: str, watched: bool
) -> tuple[list[Sentence], str]:
    group = facts["group_id"]
    asked = {
        name: answer(loaded.db, name, group=group)
        for name in [
            "workloads",
            "answers",
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
        ]
    }
    said = sentences(asked["workloads"], asked["answers"])
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
    program = script("page.js", *WATCHED[watched])
    vega = vega_bundle()
    html = render(
        "group.html",
        [vega, program],
        group=facts,
        sections=SECTIONS,
        filters=given["filters"],
        sentences=said,
        interfaces=_interfaces(asked["interfaces"], asked["workloads"], titles),
        absent=_absent(asked["stacks"]),
        random=", ".join(
            in_order(row["model"] for row in asked["workloads"] if row["weights"] == "random")
        ),
        figures=figures,
        stacks=asked["stacks"],
        runs=asked["runs"],
        run_facts=[
            (title, [cell(run[name]) for run in asked["runs"]])
            for name, title in RUN_FACTS.items()
            if any(run[name] is not None for run in asked["runs"])
        ],
        claims=[row | {"measured": _measured(row, unit)} for row in asked["claims"]],
        about=told()["about"],
        precisions=_precisions(asked["precisions"], unit, titles),
        quality=_quality(asked["quality"]),
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
    return said, html


def _titles(asked: dict[str, list[Row]]) -> dict[str, str]:
    """{stack: its title}; two stacks of one title keep their folders' names."""
    found = {row["stack"]: row["stack_title"] for row in asked["workloads"]}
    found |= {row["stack"]: row["title"] for row in asked["stacks"]}
    titles = list(found.values())
    return {stack: t if titles.count(t) == 1 else stack for stack, t in found.items()}


def _interfaces(rows: list[Row], workloads: list[Row], titles: dict[str, str]) -> list[Row]:
    """A sentence a pair of interfaces of a stack."""
    loads = {row["load"]: row["load_title"] for row in workloads}
    found: list[Row] = []
    for row in rows:
        # As the question gives them, a is the later in the alphabet.
        a, b = row["interface_a"], row["interface_b"]
        low, high = row["ratio_low"], row["ratio_high"]
        place = f"{titles.get(row['stack'], row['stack'])}, {loads[row['load']]}"
        if row["ratio"] < 1:
            a, b = b, a
            low, high = (1 / high, 1 / low) if low else (None, None)
        if row["distinguishable"]:
            longer = span(low or 0, high or 0)
            text = f"{place}: the median request takes {longer} as long over {a} as over {b}."
        elif low is None:
            text = f"{place}: {a} against {b}: too few blocks to tell."
        else:
            text = f"{place}: {' and '.join(sorted((a, b)))} are not distinguishable."
        setup = [row[name] for name in SETUP]
        answered = bool(row["distinguishable"])
        found.append({"text": text, "answered": answered, "setup": setup, "load": row["load"]})
    return found


def _precisions(rows: list[Row], unit: str, titles: dict[str, str]) -> list[Row]:
    """A sentence a pair of precisions of a stack under a load."""
    found: list[Row] = []
    for row in rows:
        a, b = row["precision_a"], row["precision_b"]
        low, high = row["ratio_low"], row["ratio_high"]
        if row["ratio"] < 1:
            a, b = b, a
            low, high = (1 / high, 1 / low) if low else (None, None)
        place = f"{titles.get(row['stack'], row['stack'])}, {row['interface']}, {row['load_title']}"
        if row["distinguishable"]:
            text = f"{place}: {a} serves {span(low or 0, high or 0)} {b}'s {unit} per second."
        elif low is None:
            text = f"{place}: {a} against {b}: too few blocks to tell."
        else:
            text = f"{place}: {' and '.join(sorted((a, b)))} are not distinguishable."
        # Of any precision: these sentences stand whichever one is chosen.
        setup = [row.get(name) for name in SETUP]
        answered = bool(row["distinguishable"])
        found.append({"text": text, "answered": answered, "setup": setup, "load": row["load"]})
    return found


def _quality(rows: list[Row]) -> list[str]:
    """A line a model: its answers' quality at each precision."""
    found: dict[str, list[str]] = {}
    for row in rows:
        of = f"{row['model']}, {row['figure']} on {row['quality_set']}"
        found.setdefault(of, []).append(f"{row['precision']} {row['value']:.3f}")
    return [f"{of}: {', '.join(values)}" for of, values in found.items()]


def _absent(stacks: list[Row]) -> list[str]:
    measured = {row["stack"] for row in stacks if row["status"] == "measured"}
    return in_order(
        f"{row['title']}: {row['status']}" + (f", {row['reason']}" if row["reason"] else "")
        for row in stacks
        if row["stack"] not in measured
    )


def _measured(row: Row, unit: str) -> str:
    if row["measured_best"] is None:
        return "no such figure here" if row["column_name"] is None else "not measured"
    value, name = row["measured_best"], row["column_name"]
    of = NAMES.get(name, ("", "ms", ""))[1].format(unit=unit)
    random = ", random weights" if row["weights"] == "random" else ""
    where = f"{row['model']} {row['precision']}{random}, {row['load_title']}"
    return f"{_figure(value, 'callers' if name == 'users' else of)} ({where})"


GENERAL = {
    "ready_s": ("s", "until ready, the model loaded"),
    "memory_idle_mb": ("MB", "idle, the model included"),
    "gpu_utilization": ("%", ""),
    "users": ("callers", "within the limit"),
    "overhead_p50_ms": ("ms", "p50, over all sizes of payload, on kept and new connections"),
}


def _general(row: Row) -> str:
    """The range that was measured, in words."""
    if row["low"] is None:
        return "no such figure here" if row["column_name"] is None else "not measured"
    of, what = GENERAL[row["column_name"]]
    scale = 100 if of == "%" else 1
    ends = [cell(scale * row[side]) for side in ("low", "high")]
    return f"{'–'.join(dict.fromkeys(ends))} {of} {what}".strip()


def _figure(value: float, of: str) -> str:
    return f"{100 * value:.0f}%" if of == "%" else f"{cell(value)} {of}"
