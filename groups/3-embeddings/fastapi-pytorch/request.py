"""The body of POST /v1/embeddings: OpenAI's fields, and two of this server's own."""

from dataclasses import dataclass
from typing import Any, cast

import orjson

from embedder import Options
from errors import BAD_FORMAT, BAD_INPUT, BAD_JSON, BAD_OPTION, BAD_REQUEST, RequestError

FORMATS = ("float", "base64")


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    texts: list[str]
    options: Options
    base64: bool


def parse(body: bytes) -> EmbeddingRequest:
    """Raises RequestError naming the field at fault. Unknown fields are left alone, as OpenAI does."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(BAD_JSON, f"the body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise RequestError(BAD_REQUEST, "the body must be a JSON object with an 'input'")
    fields = cast(dict[str, Any], found)
    model = fields.get("model")
    if model is not None and not isinstance(model, str):
        raise RequestError(BAD_REQUEST, "model must be a string")
    encoding = fields.get("encoding_format") or "float"
    if encoding not in FORMATS:
        raise RequestError(BAD_FORMAT, "encoding_format must be 'float' or 'base64'")
    dimensions = fields.get("dimensions")
    if dimensions is not None and type(dimensions) is not int:
        raise RequestError(BAD_OPTION, "dimensions must be a whole number")
    options = Options(
        model, dimensions, _switch(fields, "normalize"), _switch(fields, "truncate")
    )
    return EmbeddingRequest(_texts(fields), options, encoding == "base64")


def _switch(fields: dict[str, Any], name: str) -> bool:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise RequestError(BAD_OPTION, f"{name} must be true or false")
    return value is not False


def _texts(fields: dict[str, Any]) -> list[str]:
    if "input" not in fields:
        raise RequestError(BAD_INPUT, "input is missing: a text, or a list of texts")
    given = fields["input"]
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list):
        raise RequestError(BAD_INPUT, "input must be a text or a list of texts")
    for number, text in enumerate(cast(list[Any], given)):
        if not isinstance(text, str):
            kind = "token ids are" if isinstance(text, int | list) else f"{type(text).__name__} is"
            raise RequestError(BAD_INPUT, f"input {number}: {kind} not taken, only text is")
    return cast(list[str], given)
