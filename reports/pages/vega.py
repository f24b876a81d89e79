"""Altair's charts compiled to Vega, as the page's script takes them: the browser needs no compiler.

Each has the signals `note` (the random weights' warning) and `ink` (the theme's colour for text).
"""
# Altair's generated types are not strict.
# pyright: basic

import json
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from typing import Any

import altair as alt
import vl_convert

from pages.render import kept


def compiled(chart: Any, *, height: int | None = None, step: int | None = None) -> dict[str, Any]:
    """A Vega specification as wide as its place; `height` of it all, or `step` for each line."""
    sized = chart.properties(
        width="container",
        height=alt.Step(step, **{"for": "position"}) if step else height,
        background="transparent",
    )
    # Altair has checked each part when it was made.
    spec = sized.configure_view(stroke=None).to_dict(validate=False)
    # The note says that the weights are random; it stays with a downloaded picture.
    spec["title"] = {"text": {"expr": "note"}, "anchor": "start", "frame": "bounds", "offset": 6}
    spec.setdefault("params", []).extend(
        [{"name": "note", "value": ""}, {"name": "ink", "value": "#1a1f26"}]
    )
    spec["autosize"] = {"type": "fit-x", "contains": "padding"}
    # To the right a label may stand out over the end of its axis.
    spec["padding"] = {"left": 5, "top": 5, "right": 16, "bottom": 5}
    # A label every 40 pixels is a crowd, and the outermost ones pulled in meet their neighbours.
    found = json.loads(_compiled(json.dumps(spec)).replace("ceil(width/40)", "ceil(width/70)"))
    for axis in found["axes"]:
        if axis.get("labelFlush"):
            axis["labelFlush"] = False
        labels = axis.get("encode", {}).get("labels", {}).get("update", {})
        if "text" in labels:
            # Vega sets the first of several lines beside the tick: set their middle there.
            lines = labels["text"]["signal"]
            labels["dy"] = {"signal": f"isArray({lines}) ? 6 - 6 * length({lines}) : 0"}
    return found


@cache
def _compiled(spec: str) -> str:
    """Kept: it takes a tenth of a second a chart, and new results are drawn by the same ones."""
    known = sha256(f"{version('vl-convert-python')}\n{spec}".encode()).hexdigest()
    return kept(f"charts/{known}.json", lambda: json.dumps(vl_convert.vegalite_to_vega(spec)))
