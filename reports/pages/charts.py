"""The charts in Altair, each over rows that templates/rows.js picks by the filters.

A row holds series, stack, interface, load_title, offered, label, value, low, high, text, range
and limit.
"""
# Altair's generated types are not strict.
# pyright: basic

from collections.abc import Sequence
from typing import Any

import altair as alt

from pages.scales import Scales
from pages.vega import compiled

ROWS = alt.NamedData("rows")
# Set by the page: the theme's colour for text.
INK = alt.ExprRef("ink")

# Intervals and limits are not read out (aria=False): the table has them, and where there is none an
# empty layer would be a picture without a name.
TOOLTIP = [
    alt.Tooltip("series:N", title="stack"),
    alt.Tooltip("load_title:N", title="load"),
    alt.Tooltip("label:N", title="figure"),
    alt.Tooltip("text:N", title="value"),
    alt.Tooltip("range:N", title="95% interval"),
    alt.Tooltip("blocks:Q", title="blocks"),
    alt.Tooltip("run_id:N", title="run"),
]


def bars(
    scales: Scales, axis: str, rule: float | None = None, share: bool = False
) -> dict[str, Any]:
    """A bar a series with its interval; `rule`: a line to read against; `share`: in percent."""
    base = alt.Chart(ROWS).encode(y=_series())
    layers = [
        base.mark_bar().encode(
            x=alt.X("value:Q", title=axis).scale(zero=True).axis(**_format(share)),
            color=scales.colour().legend(None),
            tooltip=TOOLTIP,
        ),
        base.transform_filter("isValid(datum.low)")
        .mark_rule(strokeWidth=2, color="#7d8590", aria=False)
        .encode(x="low:Q", x2="high:Q"),
        base.mark_text(align="left", baseline="middle", dx=4, color=INK).encode(
            x=alt.X("edge:Q", title=axis), text="text:N"
        ),
        # Room for that text.
        base.mark_point(opacity=0, aria=False).encode(x="room:Q"),
    ]
    if rule is not None:
        # Under the figures.
        layers.insert(1, _rule_x(rule))
    return compiled(alt.layer(*layers), step=36)


def against_load(scales: Scales, x: str, y: str, share: bool = False) -> dict[str, Any]:
    """Lines over offered load with interval bands and the limit."""
    vertical = alt.Y("value:Q", title=y).scale(zero=True)
    if share:
        vertical = vertical.axis(format="%").scale(domain=[0, 1])
    base = alt.Chart(ROWS).encode(
        x=alt.X("offered:Q", title=x).scale(zero=True).axis(format=",~r"), detail="series:N"
    )
    band = (
        base.transform_filter("isValid(datum.low) && isValid(datum.high)")
        .mark_area(opacity=0.15, aria=False)
        .encode(y="low:Q", y2="high:Q", color=scales.colour())
    )
    whisker = (
        base.transform_filter("isValid(datum.low) && isValid(datum.high)")
        .mark_rule(opacity=0.7, aria=False)
        .encode(y="low:Q", y2="high:Q", color=scales.colour())
    )
    line = base.mark_line(strokeWidth=2).encode(
        y=vertical, color=scales.colour(), strokeDash=scales.dash()
    )
    point = base.mark_point(filled=True, size=60, opacity=1).encode(
        y=vertical, color=scales.colour(), shape=scales.shape().legend(None), tooltip=TOOLTIP
    )
    return compiled(alt.layer(band, whisker, line, point, _limit()), height=300)


def percentiles(scales: Scales, y: str) -> dict[str, Any]:
    """An HDR-style curve: each step to the right is ten times rarer."""
    axis = alt.Axis(
        values=[2, 10, 20, 100, 1000],
        labelExpr="'p' + format(100 * (1 - 1 / datum.value), '~g')",
    )
    base = alt.Chart(ROWS).encode(
        x=alt.X("offered:Q", title="percentile", axis=axis).scale(type="log", domain=[2, 1000]),
        detail="series:N",
        color=scales.colour(),
    )
    layers = [
        base.transform_filter("isValid(datum.low) && isValid(datum.high)")
        .mark_area(opacity=0.15, aria=False)
        .encode(y="low:Q", y2="high:Q"),
        base.mark_line(strokeWidth=2).encode(
            y=alt.Y("value:Q", title=y).scale(zero=True), strokeDash=scales.dash()
        ),
        base.mark_point(filled=True, size=60, opacity=1).encode(y="value:Q", tooltip=TOOLTIP),
        _limit(),
    ]
    return compiled(alt.layer(*layers), height=300)


def heatmap(intervals: bool = True) -> dict[str, Any]:
    """Figures down, series across: the darker, the further from the best of its line."""
    base = alt.Chart(ROWS).encode(
        x=alt.X("series:N", title=None, sort=None).axis(
            orient="top",
            labelAngle=0,
            labelLimit=180,
            # FastAPI + ONNX Runtime is wider than a column.
            labelExpr="split(replace(datum.label, ' + ', ' + · '), ' · ')",
            labelOffset=0,
            labelPadding=28,
            labelBaseline="middle",
            ticks=False,
            domain=False,
        ),
        y=alt.Y("label:N", title=None, sort=None).axis(
            # Beside its name where there is room for the unit, else below it: on a narrow screen
            # what the names take is missing for the figures.
            labelExpr="length(datum.label) > 22"
            " ? split(replace(datum.label, ' for ', ', for '), ', ') : datum.label",
            labelLimit=200,
        ),
    )
    best = base.transform_joinaggregate(
        least="min(value)", most="max(value)", groupby=["label"]
    ).transform_calculate(
        # A share of what was asked for speaks for itself: the best of nothing is nothing.
        of_best="datum.figure == 'goodput' ? datum.value"
        " : datum.better == 'less' ? datum.least / datum.value : datum.value / datum.most"
    )
    cells = best.mark_rect(cornerRadius=3).encode(
        color=alt.Color("of_best:Q", title="of the best")
        .scale(domain=[0, 1], range=["#d7a35f", "#f4ead9", "#2f8f83"], domainMid=0.7)
        .legend(format="%", orient="top", direction="horizontal", gradientLength=180),
        tooltip=TOOLTIP,
    )
    up = -7 if intervals else 0
    value = best.mark_text(dy=up, fontWeight="bold").encode(
        text="text:N",
        # A dash, where there is no figure, stands on the bare ground.
        color=alt.when("isValid(datum.value)").then(alt.value("#111")).otherwise(alt.value("#888")),
    )
    span = best.mark_text(dy=8, fontSize=10, color="#222").encode(text="range:N")
    return compiled(alt.layer(cells, value, span), step=44)


def stacked(x: str, order: Sequence[str], fill: Sequence[str]) -> dict[str, Any]:
    """Parts of a whole, a bar a series."""
    chart = (
        alt.Chart(ROWS)
        .transform_calculate(place=f"indexof({list(order)}, datum.label)")
        .mark_bar()
        .encode(
            y=_series(),
            x=alt.X("value:Q", title=x).stack("zero"),
            color=alt.Color("label:N", title=None).scale(domain=list(order), range=list(fill)),
            order="place:Q",
            tooltip=TOOLTIP,
        )
    )
    spec = compiled(chart, step=36)
    # No seams between bars of one colour. As a channel of its own it would cost the legend.
    drawn = spec["marks"][0]["encode"]["update"]
    drawn |= {"stroke": drawn["fill"], "strokeWidth": {"value": 0.6}}
    return spec


def by_load(scales: Scales, x: str, share: bool = False) -> dict[str, Any]:
    """A group of dots a load; `share`: in percent."""
    base = alt.Chart(ROWS).encode(
        y=alt.Y("load_title:N", title=None, sort=None).axis(
            labelLimit=160, labelExpr="split(datum.label, ', ')", ticks=False
        )
    )
    layers = [
        base.transform_filter("isValid(datum.low)")
        .mark_rule(strokeWidth=2, opacity=0.5, aria=False)
        .encode(x="low:Q", x2="high:Q", color=scales.colour(), yOffset="series:N"),
        base.mark_point(filled=True, size=70, opacity=1).encode(
            x=alt.X("value:Q", title=x).scale(zero=True).axis(**_format(share)),
            color=scales.colour(),
            shape=scales.shape(),
            yOffset="series:N",
            tooltip=TOOLTIP,
        ),
    ]
    return compiled(alt.layer(*layers), step=54)


def scatter(scales: Scales, y: str) -> dict[str, Any]:
    """One dot a stack: what it takes, the component chosen, against what it gives."""
    chart = (
        alt.Chart(ROWS)
        .mark_point(filled=True, size=110, opacity=1)
        .encode(
            x=alt.X("offered:Q").scale(zero=True),
            y=alt.Y("value:Q", title=y).scale(zero=True),
            color=scales.colour(),
            tooltip=TOOLTIP,
        )
    )
    spec = compiled(chart, height=260)
    spec["signals"].append({"name": "component", "value": ""})
    for axis in spec["axes"]:
        if axis["scale"] == "x" and axis.get("title"):
            axis["title"] = {"signal": "component"}
    # Vega places text clear of points and of other text; Vega-Lite has no word for it.
    spec["marks"].append(
        {
            "type": "text",
            "from": {"data": spec["marks"][0]["name"]},
            "aria": False,
            "encode": {
                "enter": {"text": {"field": "datum.stack"}},
                "update": {"fill": {"signal": "ink"}, "fontSize": {"value": 12}},
            },
            "transform": [
                {
                    "type": "label",
                    # Before it is laid out it may have no width, which the placing can't bear.
                    "size": {"signal": "[max(width, 1), max(height, 1)]"},
                    "anchor": ["right", "left", "top", "bottom", "top-left", "bottom-left"],
                    "offset": [6],
                }
            ],
        }
    )
    return spec


def over_time(scales: Scales, y: str, share: bool = False) -> dict[str, Any]:
    """A line a trial over the seconds of its window; `share`: in percent."""
    chart = (
        alt.Chart(ROWS)
        .mark_line(strokeWidth=1.5)
        .encode(
            x=alt.X("offered:Q", title="seconds from the start of the trial"),
            y=alt.Y("value:Q", title=y).scale(zero=True).axis(**_format(share)),
            color=scales.colour(symbol="stroke"),
            strokeDash=scales.dash(),
            detail="trial_id:N",
            tooltip=TOOLTIP,
        )
    )
    return compiled(chart, height=220)


def _format(share: bool) -> dict[str, Any]:
    return {"format": ".0%"} if share else {}


def _series() -> alt.Y:
    """Stacks down the side, in the order of the rows, the interface on a second line."""
    return alt.Y("series:N", title=None, sort=None).axis(
        labelExpr="split(datum.label, ' · ')", labelLimit=180, ticks=False
    )


def _limit() -> alt.Chart:
    return (
        alt.Chart(ROWS)
        .transform_filter("isValid(datum.limit)")
        .mark_rule(strokeDash=[5, 4], strokeWidth=1.5, color="#c0392b", aria=False)
        .encode(y="max(limit):Q")
    )


def _rule_x(value: float) -> alt.Chart:
    return (
        alt.Chart(ROWS).mark_rule(strokeDash=[5, 4], color="#c0392b").encode(x=alt.X(datum=value))
    )
