"""How a server's memory grows over 100,000 embeddings.

From the repository's root:

    PYTHONPATH=shared/bench:shared/metrics:shared/client .build/envs/study/bin/python -P \
        groups/3-embeddings/fastapi-pytorch/bench/memory.py --stack triton

Four callers send requests of 64 headings, every seventh with a passage in place of one, on all of
the server's interfaces in turn. Memory is the PSS of all of the server's processes while nobody
asks: after a warm-up of a twentieth, then after each tenth of the embeddings.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console

from bench.artefact import read_payloads
from bench.cpus import split_cpus
from bench.errors import StackFailed, StackSkipped, UserError
from bench.folders import find_stacks
from bench.group import Group, load_group
from bench.processes import adopt_orphans
from bench.progress import Reporter
from bench.serve import served
from bench.settings import read_settings
from inference_client import connect

GROUP = Path(__file__).resolve().parents[2]
CALLERS = 4
TEXTS = 64  # in one request
PASSAGES = 7  # one in so many requests holds one
PASSAGE_WORDS = 100  # the main set's headings have 7 words at most, its passages 120 or more


def requests(group: Group, embeddings: int) -> list[list[str]]:
    """As many requests as hold so many texts, seeded."""
    texts = [p.data().decode() for p in read_payloads(group) if p.set is None and not p.audit]
    passages = [text for text in texts if len(text.split()) >= PASSAGE_WORDS]
    headings = [text for text in texts if len(text.split()) < PASSAGE_WORDS]
    draw = random.Random(7)
    found = [draw.sample(headings, TEXTS) for _ in range(-(-embeddings // TEXTS))]
    for request in found[::PASSAGES]:
        request[0] = draw.choice(passages)
    return found


def main() -> int:
    """Ask and tell. Returns 2 on wrong use, 3 if the stack can't run or fails, 130 if stopped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--stack", default="fastapi-pytorch")
    parser.add_argument("--embeddings", type=int, default=100_000)
    chosen = parser.parse_args()
    adopt_orphans()
    group = load_group(GROUP)
    tenth = requests(group, chosen.embeddings // 10)
    with Reporter(Console(width=160)) as report, tempfile.TemporaryDirectory() as logs:
        try:
            (folder,) = find_stacks([GROUP], chosen.stack)
            cpus = split_cpus(dict(os.environ))
            with served(folder, read_settings(), cpus, Path(logs), report) as (running, _):
                names = [interface.name for interface in running.stack.interfaces]
                clients = [connect(folder, n, ports=running.ports, timeout_s=120) for n in names]

                def ask(number: int) -> None:
                    clients[number % len(clients)].embed(tenth[number])

                def megabytes() -> float:
                    time.sleep(1)
                    return running.memory_bytes() / 1e6

                with ThreadPoolExecutor(CALLERS) as callers:
                    list(callers.map(ask, range(len(tenth) // 2)))
                    first = last = megabytes()
                    report.note(f"warm: {first:.0f} MB")
                    for part in range(1, 11):
                        list(callers.map(ask, range(len(tenth))))
                        last = megabytes()
                        report.note(f"{part * len(tenth) * TEXTS:>7,} embeddings: {last:.0f} MB")
                for client in clients:
                    client.close()
        except UserError as error:
            print(error, file=sys.stderr)
            return 2
        except (StackFailed, StackSkipped) as error:
            print(error, file=sys.stderr)
            return 3
        except KeyboardInterrupt:
            return 130
    print(f"{chosen.stack}: {last / first - 1:+.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
