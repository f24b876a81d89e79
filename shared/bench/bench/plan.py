"""Which trials a run consists of, in which order, at which rates, and how long each window is."""

import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench.group import SCHEDULED, Group, Load, Profile, Slo
from bench.search import TOLERANCE, requests_to_show
from bench.stack import Stack

# The standard normal quantile of 99%.
SURELY = 2.33


@dataclass(frozen=True)
class Trial:
    """One planned measurement. `id` is its file name below trials/.

    `variant` is the part of file names that tells another precision than the stack's main one.
    """

    id: str
    group_id: str
    stack: str
    model: str
    interface: str
    load: str
    client_batch: int
    block: int
    seed: int
    precision: str = "fp32"
    variant: str = ""


@dataclass(frozen=True)
class Start:
    """One start of a stack in a block, with the trials it serves."""

    group_id: str
    stack: str
    model: str
    block: int
    trials: tuple[Trial, ...]
    precision: str = "fp32"


def loads_for(
    group: Group, profile: Profile, model: str, first: bool, main_precision: bool
) -> list[Load]:
    """The loads a profile asks of one interface of one model, in group.toml's order."""
    if model != group.models[0]:
        names = set(profile.further_models if first and main_precision else ())
    elif not main_precision:
        names = set(profile.further_precisions if first else ())
    else:
        names = {*profile.every_interface, *(profile.first_interface if first else ())}
    return [load for name, load in group.loads.items() if name in names]


def variant_of(stack: Stack, precision: str | None) -> str:
    """What tells a precision in file names: nothing for the stack's main one."""
    return "" if precision in (None, stack.precisions[0]) else f".{precision}"


def trials_of(
    group: Group,
    stack: Stack,
    profile: Profile,
    model: str,
    block: int,
    seed: int,
    only: str | None,
    precision: str,
) -> tuple[Trial, ...]:
    """A stack's trials in one block. `only` is INTERFACE. The order of loads is seeded."""
    trials: list[Trial] = []
    variant = variant_of(stack, precision)
    for place, interface in enumerate(stack.interfaces):
        if only and interface.name != only:
            continue
        for load in loads_for(group, profile, model, place == 0 or only is not None, not variant):
            trials.append(
                Trial(
                    id=f"{group.id.split('-')[0]}.{stack.id}.{model}{variant}.{interface.name}"
                    f".{load.name}.b{block}",
                    group_id=group.id,
                    stack=stack.id,
                    model=model,
                    interface=interface.name,
                    load=load.name,
                    client_batch=load.client_batch,
                    block=block,
                    # The same payload order for all stacks, another one each block.
                    seed=seed * 1000 + block,
                    precision=precision,
                    variant=variant,
                )
            )
    random.Random(f"{seed}/{block}/{model}/loads").shuffle(trials)
    return tuple(trials)


def make_starts(
    group: Group,
    stacks: Sequence[Stack],
    profile: Profile,
    models: Sequence[str],
    seed: int,
    interface: str | None,
    only_precision: str | None = None,
) -> list[Start]:
    """All starts of a run: in each block every stack once a model and precision, in fresh seeded
    order.

    Where the profile asks nothing of further models, one that is named takes the first's place. So
    does a precision, on the main interface: never an empty run.
    """
    if len(models) == 1 and not profile.further_models:
        group = replace(group, models=tuple(models))
    if only_precision and not profile.further_precisions:
        ordinary = (*profile.every_interface, *profile.first_interface)
        profile = replace(profile, further_precisions=ordinary)
    starts: list[Start] = []
    for block in range(1, profile.blocks + 1):
        for model in models:
            order = [
                (stack, precision)
                for stack in stacks
                for precision in stack.precisions
                if only_precision in (None, precision)
            ]
            random.Random(f"{seed}/{block}/{group.id}/{model}/stacks").shuffle(order)
            for stack, precision in order:
                trials = trials_of(group, stack, profile, model, block, seed, interface, precision)
                if trials:
                    starts.append(Start(group.id, stack.id, model, block, trials, precision))
    return starts


def steady_s(profile: Profile, load: Load, rate_per_s: float | None) -> float:
    """How long one rate is measured, in seconds: the same for all stacks at one load.

    Poisson arrivals vary by the square root of their mean m: it is taken so high that 99 of 100
    windows hold the profile's `min_requests` n, m - 2.33 √m = n.
    """
    if not rate_per_s:
        return profile.window_s
    requests = float(profile.min_requests)
    if load.arrivals == "poisson" and requests:
        requests = ((SURELY + math.sqrt(SURELY**2 + 4 * requests)) / 2) ** 2
    return max(profile.window_s, math.ceil(requests / rate_per_s))


def probe_s(slo: Slo, rate_per_s: float | None) -> float:
    """How long a probe of a search is measured, in seconds. Two things make it long enough.

    Beyond capacity by a share x, an open load's queue makes answers later by x seconds each
    second: 5% are beyond the limit within limit / (0.95 x). So an overload of 5%, a search's
    tolerance, shows in 21 times the limit. Second, the requests must be enough to show the SLO's
    share (`requests_to_show`), a tenth more as not every arrival process keeps to its mean. Users
    that wait reach their steady state within a few answers; they get the same seconds.
    """
    limits = [limit / 1000 for limit in (slo.latency_ms, slo.ttft_ms) if limit is not None]
    queue_s = min(limits, default=0.0) / (slo.share * TOLERANCE)
    sample_s = 1.1 * requests_to_show(slo.share) / rate_per_s if rate_per_s else 0.0
    return max(1.0, queue_s, sample_s)


def as_table(starts: Sequence[Start]) -> list[dict[str, Any]]:
    """The plan as run.json keeps it: one row a trial, in order."""
    return [asdict(trial) for start in starts for trial in start.trials]


def offered_rate(load: Load, ceiling_per_s: float) -> float | None:
    """Requests per second of an open load: its share of the ceiling, rounded to what people say.

    A burst's is the one before it, a search's the highest it may try; None where users wait.
    """
    if load.kind not in SCHEDULED:
        return None
    share = load.high if load.share is None else load.share
    rate = share * ceiling_per_s / load.client_batch
    return round(rate) if rate >= 20 else max(0.1, round(rate, 1))
