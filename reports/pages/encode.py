"""Tables for a page: columns instead of rows, each text once, figures to five digits."""

import json
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

Row = dict[str, Any]


def columns(rows: Sequence[Row]) -> dict[str, Any]:
    """{"n": rows, "of": {name: values, or {"texts", "at"} for texts}}, without all-null columns."""
    found: dict[str, Any] = {}
    for name in rows[0] if rows else ():
        values = [_plain(row[name]) for row in rows]
        if any(value is not None for value in values):
            found[name] = _texts(values) if any(isinstance(v, str) for v in values) else values
    return {"n": len(rows), "of": found}


def points(rows: Sequence[Row]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The points' own columns, and {figure: its value, low and high, a value a point}."""
    figures: dict[str, dict[str, list[Any]]] = {}
    for at, row in enumerate(rows):
        for one in row["figures"]:
            part = figures.setdefault(
                one["figure"], {side: [None] * len(rows) for side in ("value", "low", "high")}
            )
            for side, values in part.items():
                values[at] = _plain(one[side])
    plain = [{name: v for name, v in row.items() if name != "figures"} for row in rows]
    return columns(plain), figures


def script(data: Any) -> str:
    """JSON for a script element: no text in it can end the element or start a comment."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for one in "<>&\u2028\u2029":
        text = text.replace(one, f"\\u{ord(one):04x}")
    return text


def _texts(values: Iterable[Any]) -> dict[str, Any]:
    texts: dict[str, int] = {}
    at = [None if v is None else texts.setdefault(str(v), len(texts)) for v in values]
    return {"texts": list(texts), "at": at}


def _plain(value: Any) -> Any:
    if isinstance(value, float | Decimal):
        number = float(value)
        if not abs(number) < float("inf"):
            return None
        short = float(f"{number:.5g}")
        return int(short) if short.is_integer() and abs(short) < 1e15 else short
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)  # pyright: ignore[reportUnknownArgumentType,reportUnknownVariableType]
    return value.isoformat() if isinstance(value, date) else value
