"""TOML files read and held against the JSON Schemas beside this file.

An unknown key is an error that names the file, the key and the nearest valid one.
"""

import difflib
import json
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, cast

import jsonschema

from bench.errors import UserError
from bench.paths import ROOT

# So many names fit into an error message beside the nearest one.
FEW = 4
SCHEMAS = Path(__file__).parent / "schemas"


def where(file: Path) -> str:
    """A file's path as a user would type it."""
    return str(file.relative_to(ROOT)) if file.is_relative_to(ROOT) else str(file)


def did_you_mean(word: str, known: list[str]) -> str:
    """A hint for a name that isn't known: the nearest one, and all where they are few or far."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    every = f"known: {', '.join(sorted(set(known)))}"
    if not near:
        return every
    return f"did you mean {near[0]!r}?" + (f" {every}" if len(known) <= FEW else "")


@cache
def schema(name: str) -> dict[str, Any]:
    """The JSON Schema of one kind of file."""
    return json.loads((SCHEMAS / f"{name}.schema.json").read_text())


def explain(error: jsonschema.ValidationError, file: Path) -> str:
    """One line for a schema error: the file, the key and the nearest valid one."""
    at = ".".join(str(part) for part in error.absolute_path) or "top level"
    if error.validator == "additionalProperties":
        allowed: dict[str, Any] = cast(Any, error.schema).get("properties", {})
        known = list(allowed)
        unknown = sorted(set(cast(dict[str, Any], error.instance)) - set(known))
        hints = "; ".join(f"unknown key {key!r}, {did_you_mean(key, known)}" for key in unknown)
        return f"{where(file)}: {at}: {hints}"
    if error.validator == "enum" and isinstance(error.instance, str):
        hint = did_you_mean(error.instance, cast(list[str], error.validator_value))
        return f"{where(file)}: {at}: {error.instance!r}, {hint}"
    return f"{where(file)}: {at}: {error.message}"


def read_toml(file: Path, kind: str) -> dict[str, Any]:
    """Parse and check one file. Raises UserError naming the file, the key and the way out."""
    try:
        data = tomllib.loads(file.read_text())
    except FileNotFoundError:
        raise UserError(f"{where(file)}: no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{where(file)}: not valid TOML: {error}") from None
    checker = cast(Any, jsonschema.Draft202012Validator(schema(kind)))
    errors: list[jsonschema.ValidationError] = sorted(
        checker.iter_errors(data),
        key=lambda error: list(map(str, error.absolute_path)),
    )
    if errors:
        raise UserError("\n".join(explain(error, file) for error in errors))
    return data
