"""`make crosscheck`: the same requests from k6, Locust and a plain asyncio client, side by side.

On the null server the truth is known: its own record, with a stall of a second and without. On a
real stack it is not; there the tools are compared with each other. Each tool gives its latency
as its users get it: k6 from the schedule, the others from their own send.
"""

import resource
import threading
import time
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench import clients
from bench.artefact import Artefact, read_payloads
from bench.clients import PROJECT, USERS, WARMUP_S, WINDOW_S, Cell
from bench.cpus import CpuSplit
from bench.environments import ensure_environment, installed_version
from bench.errors import UserError
from bench.folders import find_groups, find_stacks
from bench.generator import make_plan as stack_plan
from bench.generator import read_summary, run_k6
from bench.group import load_group
from bench.local_http import open_url
from bench.measurement import flat_header, save
from bench.nullserver import Pace, make_plan, null_server, open_load, scratch, send
from bench.paths import BUILD
from bench.progress import Reporter
from bench.recording import SEED, as_entry, http_interface, record_stack, wiretap
from bench.serve import served
from bench.server import HOST, Running, run_mark
from bench.settings import Settings
from bench.stack import Stack, load_stack
from bench.store import write_json
from bench.table import number
from metrics import Load, known_truth, reported, store_records

DELAY_MS = 20.0
STALL_AFTER_S = 4.0
STALL_S = 1.0
# Not in phase with anything; far below what any of the tools can send.
RATE_PER_S = 97.0
# Share of what the closed callers got that a stack is offered under open load.
OPEN_SHARE = 0.5
# A tool's windows on a stack, the tools in turn: a machine's drift must not look like a tool's.
ROUNDS = 3


def cells(rate_per_s: float, *, stalls: bool) -> list[Cell]:
    """Each load by each tool that can; Locust has closed callers only."""
    found: list[Cell] = []
    for stalled in (False, True) if stalls else (False,):
        after = " with a stall" if stalled else ""
        found += [Cell(g, f"closed{after}", None, stalled) for g in ("k6", "locust", "aiohttp")]
        found += [Cell(g, f"open{after}", rate_per_s, stalled) for g in ("k6", "aiohttp")]
    return found


def in_turn(tools: list[Cell]) -> list[tuple[int, Cell]]:
    """Each round begins with another tool; the first with the first."""
    return [(n + 1, cell) for n in range(ROUNDS) for cell in (tools[n:] + tools[:n])]


def order_stall(base: str, summary: Path) -> threading.Thread:
    """Tell the null server to stall, at its time in the window; the summary says when that is."""

    def wait_and_order() -> None:
        deadline = time.monotonic() + 60
        while not (said := read_summary(summary)):
            if time.monotonic() > deadline:
                return
            time.sleep(0.02)
        due = said["window_start_ns"] / 1e9 + STALL_AFTER_S
        time.sleep(max(0.0, due - time.monotonic()))
        url = f"{base}/control/stall?ms={STALL_S * 1000:g}"
        open_url(url, timeout_s=5, method="POST").close()

    thread = threading.Thread(target=wait_and_order, daemon=True)
    thread.start()
    return thread


def children_cpu_s() -> float:
    """CPU seconds of the children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def figures(cell: Cell, folder: Path, window_ns: tuple[int, int], cpu_s: float) -> dict[str, Any]:
    """What a tool reports, and its cost."""
    found = reported(folder / "requests.parquet", window_ns)
    sent = found["requests"] + found["errors"]
    whole = sent * (WARMUP_S + WINDOW_S) / WINDOW_S
    return {
        "generator": cell.generator,
        "load": cell.load,
        "users": None if cell.rate_per_s else USERS,
        "rate_per_s": cell.rate_per_s,
        "seconds": WINDOW_S,
        "generator_cpu_s_per_1000": 1000 * cpu_s / whole if whole else None,
        **found,
    }


def load_of(cell: Cell) -> dict[str, Any]:
    """A cell's load in k6's plan."""
    if cell.rate_per_s:
        return open_load(cell.rate_per_s, 256, WARMUP_S + WINDOW_S)
    return {"kind": "closed", "users": USERS}


def null_requests(k6: Path, cpus: CpuSplit, file: Path) -> None:
    """What k6 sends the null server, recorded as a stack's requests are."""
    with scratch() as folder, wiretap(1) as found:
        plan = make_plan(
            "http",
            {"kind": "closed", "users": 1},
            {"http": found.address, "grpc": found.address},
            folder,
            warmup_s=0,
            window_s=0.5,
        )
        send(k6, plan, cpus, folder)
    write_json(file, {"requests": [as_entry(one) for one in found.requests]})


def check_null(cell: Cell, k6: Path, env: Path, requests: Path, cpus: CpuSplit) -> dict[str, Any]:
    """One cell on the null server, its truth beside it. Raises StackFailed."""
    with scratch() as folder:
        with null_server(Pace(delay_ms=DELAY_MS), cpus.server, folder) as targets:
            base = f"http://{targets['http']}"
            summary = "k6.json" if cell.generator == "k6" else "client.json"
            stall = order_stall(base, folder / summary) if cell.stalled else None
            before = children_cpu_s()
            if cell.generator == "k6":
                plan = make_plan(
                    "http", load_of(cell), targets, folder, warmup_s=WARMUP_S, window_s=WINDOW_S
                )
                window = send(k6, plan, cpus, folder).load.window_ns
            else:
                clients.run_client(cell, env, base, requests, cpus, folder)
                window = clients.client_window(folder)
            cpu_s = children_cpu_s() - before
            if stall:
                stall.join()
        load = Load(folder / "requests.parquet", folder / "log.json", window)
        truth = known_truth(load, stalled=cell.stalled)
        return {"server": "null server", "round": 1} | figures(cell, folder, window, cpu_s) | truth


def check_stack(
    cell: Cell,
    k6: Path,
    env: Path,
    requests: Path,
    cpus: CpuSplit,
    running: Running,
    artefact: Artefact,
    interface: str,
) -> dict[str, Any]:
    """One cell on a stack that runs. Raises StackFailed."""
    stack = running.stack
    with scratch() as folder:
        before = children_cpu_s()
        if cell.generator == "k6":
            group = load_group(stack.folder.parent)
            plan = stack_plan(
                mode="load",
                group=group,
                artefact=artefact,
                payloads=read_payloads(group),
                running=running,
                interface=interface,
                load=load_of(cell),
                client_batch=1,
                seed=SEED,
                warmup_s=WARMUP_S,
                window_s=WINDOW_S,
                timeout_s=20,
                folder=folder,
            )
            found = run_k6(k6, stack, plan, cpus.client, folder, running.mark)
            window = found.window_start_ns, found.window_end_ns
            store_records(folder / "records.csv", folder / "requests.parquet")
        else:
            port = next(i.port for i in stack.interfaces if i.name == interface)
            base = f"http://{HOST}:{running.ports[port]}"
            clients.run_client(cell, env, base, requests, cpus, folder)
            window = clients.client_window(folder)
        cpu_s = children_cpu_s() - before
        server = f"{stack.folder.parent.name}/{stack.id}"
        return {"server": server} | figures(cell, folder, window, cpu_s)


def the_stack(settings: Settings) -> Stack:
    """The stack that GROUP and STACK name; the group's first otherwise. Raises UserError."""
    folders = find_stacks(find_groups(settings.group), settings.stack)
    if not folders:
        raise UserError("there is no stack below groups/")
    return load_stack(folders[0])


def measure(settings: Settings, k6: Path, cpus: CpuSplit, report: Reporter) -> list[dict[str, Any]]:
    """A row each tool, load and server. Raises UserError, StackFailed or StackSkipped."""
    stack = the_stack(settings)
    interface = http_interface(stack, settings.interface)
    env = ensure_environment(PROJECT, "cpu", report)
    common = flat_header(k6, cpus, "crosscheck_id")
    versions = {name: installed_version(env, name) for name in ("locust", "aiohttp")}
    versions["k6"] = common["k6_version"].split()[1]  # k6 v2.2.0 (go…)
    requests = BUILD / "requests"
    rows: list[dict[str, Any]] = []
    null_requests(k6, cpus, requests / "null.json")
    for cell in cells(RATE_PER_S, stalls=True):
        report.step(f"null server: {cell.load}: {cell.generator}")
        rows.append(check_null(cell, k6, env, requests / "null.json", cpus))
    logs = BUILD / "serve" / stack.id
    mark = run_mark("crosscheck")
    with served(stack.folder, settings, cpus, logs, report, mark) as (running, artefact):
        file = requests / stack.folder.parent.name / f"{stack.id}.{interface}.json"
        record_stack(k6, stack, interface, artefact.model, cpus, file)
        report.step(f"{stack.id}: closed: k6")
        first = check_stack(Cell("k6", "closed"), k6, env, file, cpus, running, artefact, interface)
        rows.append({"round": 1} | first)
        rate = round(OPEN_SHARE * first["requests"] / WINDOW_S, 1)
        for turn, cell in in_turn(cells(rate, stalls=False))[1:]:
            report.step(f"{stack.id}: {cell.load}: {cell.generator}, round {turn} of {ROUNDS}")
            found = check_stack(cell, k6, env, file, cpus, running, artefact, interface)
            rows.append({"round": turn} | found)
    return [common | row | {"generator_version": versions[row["generator"]]} for row in rows]


def crosscheck_table(rows: list[dict[str, Any]]) -> Table:
    """Each tool's latencies beside the truth; a number is the tool's window."""
    shown = Table(
        title="Latency as each tool reports it beside the truth: p50 / p99 / max ms",
        title_justify="left",
        header_style="bold",
        box=SIMPLE_HEAD,
    )
    for heading in ("server", "load", "tool"):
        shown.add_column(heading)
    for heading in ("requests", "reported", "truth", "added p50 / p99", "CPU s / 1,000"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        ends = ("p50", "p99", "max")
        shown.add_row(
            row["server"].split("/")[-1],
            row["load"],
            f"{row['generator']} {row['round']}",
            f"{row['requests']:,}" + (f" ({row['errors']} failed)" if row["errors"] else ""),
            " / ".join(number(row[f"reported_{end}_ms"], 0) for end in ends),
            " / ".join(number(row.get(f"truth_{end}_ms"), 0) for end in ends),
            " / ".join(number(row.get(f"added_{end}_ms"), 2) for end in ("p50", "p99")),
            number(row["generator_cpu_s_per_1000"], 2),
        )
    return shown


def crosscheck(
    settings: Settings, k6: Path, cpus: CpuSplit, report: Reporter, console: Console
) -> None:
    """Measure, save and print. Raises UserError, StackFailed or StackSkipped."""
    rows = measure(settings, k6, cpus, report)
    file = save("crosscheck", rows[0]["crosscheck_id"], {"crosschecks": rows})
    report.progress.stop()
    console.print(crosscheck_table(rows))
    console.print(f"Saved: {file}", markup=False, highlight=False, soft_wrap=True)
