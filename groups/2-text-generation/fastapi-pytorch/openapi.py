"""What /openapi.json says of the generating routes: their bodies are read by hand."""

from typing import Any

from fastapi import FastAPI

from bodies import Chat, Completion

_FAULT = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                name: {"type": ["string", "null"]} for name in ("message", "type", "param", "code")
            },
        }
    },
}
_REFUSALS = {
    "400": "A field is missing or wrong, or the prompt does not fit: the message names it",
    "404": "Another model than the one that is served",
    "408": "The body came too slowly",
    "413": "The body is too large",
    "415": "Not JSON by its content type",
    "429": "Too many requests are on their way: try again after Retry-After seconds",
    "503": "The server is stopping",
}

_SCHEMAS: dict[str, Any] = {}  # what the routes' bodies refer to


def _route(kind: type[Completion] | type[Chat]) -> dict[str, Any]:
    schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
    _SCHEMAS.update(schema.pop("$defs", {}))
    answers = {
        "application/json": {"schema": {"type": "object"}},
        "text/event-stream": {"schema": {"type": "string"}},
    }
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {
            "200": {"description": "OK; events if `stream` is true", "content": answers},
            **{
                status: {"description": text, "content": {"application/json": {"schema": _FAULT}}}
                for status, text in _REFUSALS.items()
            },
        },
    }


COMPLETION_ROUTE = _route(Completion)
CHAT_ROUTE = _route(Chat)


def describe(app: FastAPI) -> None:
    """Adds what CHAT_ROUTE and COMPLETION_ROUTE refer to, which FastAPI doesn't know."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        document = plain()
        document.setdefault("components", {}).setdefault("schemas", {}).update(_SCHEMAS)
        return document

    app.openapi = openapi
