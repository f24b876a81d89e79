"""Builds the pages: asks the questions, makes sentences and charts, and puts each into a file."""

import base64
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import vl_convert
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from pages import encode, sections
from pages.answers import SETUP, Sentence, sentences, span
from pages.charts import Figure, Scales
from pages.facts import answer
from reports.load import HOW_TO_GET_SOME, Loaded
from reports.show import cell

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / ".build" / "cache"
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
FILTERS = {
    "machine_name": "Machine",
    "device": "Device",
    "model": "Model",
    "weights": "Weights",
    "precision": "Precision",
    "runtime": "Runtime",
    "generator": "Generator",
}
VERDICTS = (("usable", "VALID, DEGRADED"), ("valid", "VALID only"))
TRIAL_COLUMNS = {
    "stack": "stack",
    "interface": "interface",
    "load": "load",
    "block": "block",
    "verdict": "verdict",
    "reasons": "reasons",
    "throughput_per_s": "units/s",
    "latency_p50_ms": "p50 ms",
    "latency_p95_ms": "p95 ms",
    "latency_p99_ms": "p99 ms",
    "ttft_p50_ms": "first token p50 ms",
    "goodput": "within the limit",
    "serving_efficiency": "of engine",
    "offered": "offered",
    "errors": "errors",
    "detail": "detail",
    "run_id": "run",
    "trial_id": "trial",
}
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


@dataclass(frozen=True)
class Built:
    """What the index says of a group's page."""

    file: str
    headline: str
    facts: Row


def build(loaded: Loaded, to: Path, group: str | None, again: str) -> list[Path]:
    """Write index.html and a page a group (or only `group`'s) into `to`; returns the files."""
    to.mkdir(parents=True, exist_ok=True)
    warnings = [f"{len(loaded.warnings)} files left out: " + "; ".join(loaded.warnings[:5])]
    told = warnings if loaded.warnings else []
    built: list[Built] = []
    written: list[Path] = []
    for facts in answer(loaded.db, "groups"):
        wanted = group is None or facts["group_id"] == group
        name = f"{_file_name(facts['group_id'])}.html"
        said, html = _group(loaded, facts, told, again)
        if wanted:
            written.append(write(to / name, html))
        answered = [one for one in said if one.answered] or said
        headline = "No answer: nothing was measured."
        if answered:
            first = answered[0]
            headline = f"{first.load_title}, {first.interface}: {first.text}"
        built.append(Built(name, headline[0].upper() + headline[1:], facts))
    program = (HERE / "templates" / "index.js").read_text("utf-8")
    index = render(
        "index.html",
        [program],
        groups=[one.facts | {"file": one.file, "headline": one.headline} for one in built],
        warnings=told,
        program=Markup(program),
    )
    return [write(to / "index.html", index), *written]


def _group(
    loaded: Loaded, facts: Row, warnings: list[str], again: str
) -> tuple[list[Sentence], str]:
    group = facts["group_id"]
    asked = {
        name: answer(loaded.db, name, group=group)
        for name in [
            "workloads",
            "answers",
            "interfaces",
            "points",
            "trials",
            "stacks",
            "runs",
            "verdicts",
            "complexity",
            "cost",
            "claims",
        ]
    }
    asked["time"] = []
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
    data = _data(group, unit, titles, asked, charts)
    program = (HERE / "templates" / "page.js").read_text("utf-8")
    vega = vega_bundle()
    html = render(
        "group.html",
        [vega, program],
        group=facts,
        sections=SECTIONS,
        filters=data["filters"],
        sentences=said,
        interfaces=_interfaces(asked["interfaces"], asked["workloads"], titles),
        absent=_absent(asked["stacks"]),
        random=any(row["weights"] == "random" for row in asked["workloads"]),
        figures=figures,
        stacks=asked["stacks"],
        runs=asked["runs"],
        run_facts=[
            (title, [cell(run[name]) for run in asked["runs"]])
            for name, title in RUN_FACTS.items()
            if any(run[name] is not None for run in asked["runs"])
        ],
        claims=[row | {"measured": _measured(row, unit)} for row in asked["claims"]],
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
        total=len(asked["trials"]),
        data=Markup(encode.script(data)),
        vega=Markup(vega),
        program=Markup(program),
    )
    return said, html


def _data(
    group: str, unit: str, titles: dict[str, str], asked: dict[str, list[Row]], charts: list[Figure]
) -> Row:
    points, figures = encode.points(asked["points"])
    loads = _in_order(row["load"] for row in asked["workloads"])
    setups = _in_order(tuple(row[name] for name in SETUP) for row in asked["workloads"])
    slo: Row = asked["runs"][0] if asked["runs"] else {}
    return {
        "group": _file_name(group),
        "setup": SETUP,
        "setups": setups,
        "filters": _filters(asked, setups, loads, figures),
        "loads": loads,
        "titles": titles,
        "names": {
            name: {
                "label": sections.name_of(name, unit).removesuffix(", %"),
                "better": better,
                "share": of == "%",
            }
            for name, (_, of, better) in sections.NAMES.items()
        },
        "measures": sections.MEASURES,
        "slo": {
            name: float(slo[column]) if slo.get(column) else None
            for name, column in {
                "latency": "slo_latency_ms",
                "ttft": "slo_ttft_ms",
                "tpot": "slo_tpot_ms",
                "share": "slo_share",
            }.items()
        },
        "points": points,
        "figures": figures,
        "tables": {
            name: encode.columns(asked[name])
            for name in ("trials", "complexity", "cost", "verdicts", "time")
        },
        "trialColumns": [
            (name, title)
            for name, title in TRIAL_COLUMNS.items()
            if any(row[name] not in (None, "") for row in asked["trials"])
        ],
        "charts": [
            {
                "id": one.id,
                "title": one.title,
                "caption": one.caption,
                "source": one.source,
                "figures": one.figures,
                "workload": one.workload,
                "family": one.family,
                "wide": one.wide,
                "spec": one.spec,
            }
            for one in charts
        ],
    }


def _filters(
    asked: dict[str, list[Row]], setups: list[Any], loads: list[str], figures: Row
) -> list[Row]:
    def options(values: Any) -> list[Row]:
        return [{"value": one, "title": one} for one in values]

    everything = [{"value": "all", "title": "all"}]
    found = [
        {"name": name, "title": title, "options": options(_in_order(s[at] for s in setups))}
        for at, (name, title) in enumerate(FILTERS.items())
    ]
    interfaces = _in_order(row["interface"] for row in asked["workloads"])
    titles = {row["load"]: row["load_title"] for row in asked["workloads"]}
    measures = [
        name for name in sections.MEASURES if any(f.startswith(f"{name}_p") for f in figures)
    ]
    components = _in_order(row["component"] for row in asked["complexity"])
    drawn = [p for p in sections.PERCENTILES if any(f.endswith(f"_{p}_ms") for f in figures)]
    # p95 first: what comes first is what a page shows unasked.
    drawn.sort(key=lambda name: name != "p95")
    return [
        *found,
        {"name": "interface", "title": "Interface", "options": everything + options(interfaces)},
        {
            "name": "load",
            "title": "Load",
            "options": everything + [{"value": one, "title": titles[one]} for one in loads],
        },
        {
            "name": "verdict",
            "title": "Verdict",
            "options": [{"value": value, "title": title} for value, title in VERDICTS],
        },
        {
            "name": "measure",
            "title": "Latency curves show",
            "options": [{"value": one, "title": sections.MEASURES[one]} for one in measures],
        },
        {
            "name": "percentile",
            "title": "Percentile",
            "options": [{"value": p, "title": p.replace("p999", "p99.9")} for p in drawn],
        },
        {"name": "component", "title": "Complexity is", "options": options(components)},
    ]


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


def _absent(stacks: list[Row]) -> list[str]:
    measured = {row["stack"] for row in stacks if row["status"] == "measured"}
    return _in_order(
        f"{row['title']}: {row['status']}" + (f", {row['reason']}" if row["reason"] else "")
        for row in stacks
        if row["stack"] not in measured
    )


def _short(value: float | None) -> str:
    return f"{value:.2g}" if value is not None and 0 < abs(value) < 0.01 else cell(value)


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _measured(row: Row, unit: str) -> str:
    if row["measured_best"] is None:
        return "not measured" if row["column_name"] is None else "–"
    value, name = row["measured_best"], row["column_name"]
    of = sections.NAMES.get(name, ("", "ms", ""))[1].format(unit=unit)
    return f"{100 * value:.0f}%" if of == "%" else f"{cell(value)} {of}"


def _in_order(values: Any) -> list[Any]:
    return list(dict.fromkeys(values))


def _file_name(group: str) -> str:
    """The group's name if it can be a file's, else a digest of it: names come from results."""
    plain = group.replace("-", "").replace("_", "").replace(".", "")
    if plain.isascii() and plain.isalnum() and group != "index" and len(group) < 100:
        return group
    return "group-" + hashlib.sha256(group.encode()).hexdigest()[:12]


@cache
def vega_bundle() -> str:
    """Vega with its expression interpreter as one script; bundling takes seconds, so it is kept."""
    file = CACHE / f"vega-{version('vl-convert-python')}.js"
    if not file.exists():
        text = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
        file.parent.mkdir(parents=True, exist_ok=True)
        # Its top-level names must not meet those of other scripts.
        write(file, "(() => {" + text.replace("</script", "<\\/script") + "})();")
    return file.read_text("utf-8")


def render(template: str, scripts: list[str], **values: Any) -> str:
    """A page from pages/templates, every value escaped; its policy lets only `scripts` run."""
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["short"] = _short
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
    # Vega's SVG carries style attributes; only our scripts run, and nothing is loaded.
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:"
    )
    return environment.get_template(template).render(
        policy=policy,
        style=Markup((HERE / "templates" / "page.css").read_text("utf-8")),
        charts=charts,
        how=HOW_TO_GET_SOME,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        **values,
    )


def write(file: Path, text: str) -> Path:
    """Write a page whole: a reader sees the old one or the new one."""
    partial = file.with_name(file.name + ".partial")
    partial.write_text(text, "utf-8")
    partial.replace(file)
    return file
