"""The front page's measured tables: each group's newest standard run, and what differs in it."""

from reports.documents import Row, markdown, number, selected
from reports.files import Folder

RUNS = """
select group_id, run_id, started_at, machine_name
from (select distinct group_id, run_id from trials)
join runs using (run_id)
where profile = 'standard'
qualify row_number() over (partition by group_id order by started_at desc) = 1
order by group_id
"""
ALIKE = "load, stack, interface, model, weights, precision"
LINES = """
with mine as (
  select trials.*,
    runs.groups -> group_id -> 'loads' -> load ->> 'payloads' as payloads,
    rtrim(verdict || ' ' || array_to_string(reasons, ', ')) as said
  from trials join runs using (run_id)
  where run_id = '{run_id}' and group_id = '{group_id}'),
counted as (select {alike}, said, count(*) as times from mine group by all),
told as (
  select {alike}, string_agg(times || '× ' || said, '; ' order by said desc) as verdicts
  from counted group by all)
select {alike}, any_value(load_kind) as load_kind, any_value(client_batch) as client_batch,
  any_value(payloads) as payloads, any_value(unit) as unit,
  avg(rate_per_s) as rate, avg(users) as users, {means}, any_value(verdicts) as verdicts
from mine join told using ({alike})
where load_kind not like 'search%' or verdict <> 'INVALID'
group by all order by load, interface desc, stack, model, precision desc
"""

# A figure that a usable block lacks has no mean: that block failed too often or answered too little
# for it, and the others are no fair sample.
USABLE = "filter (where verdict <> 'INVALID')"
MEANS = ", ".join(
    f"if(count({figure}) {USABLE} = count(*) {USABLE}, avg({figure}) {USABLE}, null) as {name}"
    for name, figure in {
        "recovery": "recovery_s",
        "throughput": "throughput_per_s",
        "p50": "latency_p50_ms",
        "p95": "latency_p95_ms",
        "ttft": "ttft_p50_ms",
        "tpot": "tpot_p50_ms",
        "goodput": "goodput",
        "efficiency": "serving_efficiency",
    }.items()
)


def standard(folder: Folder) -> str:
    """A section a group: means over the blocks of its newest standard run, and sentences.

    Models and precisions are experiments of their own; the sentences are about the first of them.
    Raises ValueError without a standard run.
    """
    runs = selected(folder, RUNS)
    if not runs:
        raise ValueError(f"{folder.address} has no run of profile standard: measure first")
    return "\n\n".join(_group(folder, run) for run in runs)


def _group(folder: Folder, run: Row) -> str:
    rows = selected(folder, LINES.format(alike=ALIKE, means=MEANS, **run))
    # What most rows are of is the main experiment: others get few loads.
    experiments = [(row["model"], row["weights"], row["precision"]) for row in rows]
    model, weights, precision = max(experiments, key=experiments.count)
    compared = selected(
        folder,
        f"""select * from comparisons where run_id = '{run["run_id"]}'
          and group_id = '{run["group_id"]}' and model = '{model}' and weights = '{weights}'
          and precision = '{precision}' order by all""",
    )
    main = [row for row, of in zip(rows, experiments, strict=True) if of[0] == model]
    said = (
        "\n".join(_sentences(main, compared)) or "- Too few blocks, or only one stack: no answer."
    )
    about = (
        f"{model} with **{weights} weights**, {precision}, {run['machine_name']},"
        f" {run['started_at']:%Y-%m-%d}; means over the blocks of"
        f" [{run['run_id']}](results/{run['run_id']}) that are not INVALID, – where one of them"
        " lacks the figure:"
    )
    which = (
        "Which differences are real "
        "(95% intervals over the blocks, corrected for the number of pairs):"
    )
    heading = f"### [{run['group_id']}](groups/{run['group_id']}/)"
    return (
        f"{heading}\n\n{about}\n\n{_table(rows, (model, weights, precision))}\n\n{which}\n\n{said}"
    )


def _table(rows: list[Row], main: tuple[str, str, str]) -> str:
    streams = any(row["ttft"] is not None for row in rows)
    judged = any(row["goodput"] is not None for row in rows)
    lines: list[list[str]] = []
    for row in rows:
        mine = (row["model"], row["weights"], row["precision"])
        random = ", random weights" if row["weights"] != main[1] == "pretrained" else ""
        kind = f", **{row['model']} {row['precision']}{random}**" if mine != main else ""
        line = [
            f"{row['load']}{_found(row)}, {row['stack']}, {row['interface']}{kind}",
            number(row["throughput"], 1),
        ]
        if streams:
            line += [number(row["ttft"], 0), number(row["tpot"], 0)]
        line += [number(row["p50"], 0), number(row["p95"], 0)]
        if judged:
            line.append("–" if row["goodput"] is None else f"{row['goodput']:.0%}")
        lines.append([*line, number(row["efficiency"]), row["verdicts"]])
    heading = ["load, stack, interface", f"{rows[0]['unit']}/s"]
    heading += ["first token p50 ms", "per token p50 ms"] if streams else []
    heading += ["p50 ms", "p95 ms", *(["within SLO"] if judged else []), "of engine", "verdicts"]
    return markdown(heading, lines)


def _found(row: Row) -> str:
    """What a load found out by itself."""
    if row["load_kind"] == "search":
        return f": {number(row['rate'], 1)}/s"
    if row["load_kind"] == "search_users":
        return f": {number(row['users'], 1)} users"
    if row["load_kind"] == "burst":
        return f": recovers in {number(row['recovery'], 1)} s"
    return ""


def _sentences(rows: list[Row], compared: list[Row]) -> list[str]:
    """The busiest callers, arrivals by themselves, and a lone caller: what sets stacks apart."""
    interfaces = [row["interface"] for row in compared if row["metric"] == "throughput_per_s"]
    if not interfaces:
        return []
    interface = max(sorted(set(interfaces), reverse=True), key=interfaces.count)
    plain = [row for row in rows if row["client_batch"] == 1 and row["payloads"] is None]
    closed = [row for row in plain if row["load_kind"] == "closed"]
    streams = any(row["ttft"] is not None for row in plain if row["interface"] == interface)
    begins = "time to the first token" if streams else "latency"
    metric = "ttft" if streams else "latency"
    wanted: list[tuple[tuple[str, ...], str, str]] = []
    if closed:
        most = max(closed, key=lambda row: row["users"])
        title = f"{most['unit'].capitalize()} per second to {most['users']:.0f} callers"
        wanted.append((("throughput_per_s",), most["load"], title))
    for load in sorted({row["load"] for row in plain if row["load_kind"] == "open"}):
        # The median, where there are too few requests for a p95.
        metrics = (f"{metric}_p95_ms", f"{metric}_p50_ms")
        wanted.append((metrics, load, f"{{}} of the {begins} under {load}"))
    for row in [row for row in closed if row["users"] == 1][:1]:
        wanted.append(
            ((f"{metric}_p50_ms",), row["load"], f"{{}} of the {begins} of a single caller")
        )
    found: list[str] = []
    for metrics, load, title in wanted:
        for metric in metrics:
            pairs = [
                row
                for row in compared
                if (row["metric"], row["load"], row["interface"]) == (metric, load, interface)
            ]
            told = any(row["distinguishable"] is not None for row in pairs)
            if told or (pairs and metric == metrics[-1]):
                percentile = "p95" if "p95" in metric else "p50"
                found.append(_sentence(pairs, title.format(percentile)))
                break
    return found


def _sentence(pairs: list[Row], title: str) -> str:
    """Each pair of stacks on one metric: by how much they differ, or that it can't be told."""
    if len(pairs) > 1 and all(row["distinguishable"] is False for row in pairs):
        names = sorted({row[side] for row in pairs for side in ("stack_a", "stack_b")})
        return f"- {title}: no two of {', '.join(names)} are distinguishable."
    told = [_pair(row) for row in sorted(pairs, key=lambda row: not row["distinguishable"])]
    return f"- {title}: {'; '.join(told)}."


def _pair(row: Row) -> str:
    a, b, blocks = row["stack_a"], row["stack_b"], row["blocks"]
    if row["distinguishable"]:
        return f"{a} is {row['ratio_low']:.2f}–{row['ratio_high']:.2f}× {b}"
    if row["distinguishable"] is None:
        counted = f"{blocks} {'block' if blocks == 1 else 'blocks'}"
        return f"{a} and {b}: {counted} with both, too few to tell"
    return f"{a} and {b} are not distinguishable"
