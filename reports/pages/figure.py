"""A chart as the page's script is given it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """A chart and how its rows are picked.

    source: "points" or a table of its own; figures: the columns it shows, "" for the measure and
    percentile chosen; measure: that one instead of the one chosen; workload: of one load only;
    family: of these arrivals only; wide: keeps a least width and scrolls.
    """

    id: str
    title: str
    caption: str
    spec: dict[str, Any]
    source: str = "points"
    figures: tuple[str, ...] = ()
    workload: bool = False
    measure: str = ""
    family: str = ""
    wide: bool = False
