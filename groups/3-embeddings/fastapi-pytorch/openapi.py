"""What /openapi.json says of the embeddings route: FastAPI can't see a body that is read by hand."""

from typing import Any

_ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"enum": ["invalid_request_error", "server_error"]},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_REQUEST = {
    "type": "object",
    "required": ["input"],
    "properties": {
        "input": {
            "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        },
        "model": {"type": "string"},
        "encoding_format": {"enum": ["float", "base64"], "default": "float"},
        "dimensions": {"type": "integer", "minimum": 1},
        "normalize": {"type": "boolean", "default": True},
        "truncate": {"type": "boolean", "default": True},
    },
}
_EMBEDDING = {
    "type": "object",
    "properties": {
        "object": {"const": "embedding"},
        "index": {"type": "integer"},
        "embedding": {
            "oneOf": [{"type": "array", "items": {"type": "number"}}, {"type": "string"}],
        },
    },
}
_ANSWER = {
    "type": "object",
    "properties": {
        "object": {"const": "list"},
        "data": {"type": "array", "items": _EMBEDDING},
        "model": {"type": "string"},
        "usage": {
            "type": "object",
            "properties": {
                "prompt_tokens": {"type": "integer"},
                "total_tokens": {"type": "integer"},
            },
        },
    },
}
_REFUSALS = {
    "400": "Not JSON, or a field that can't be used: `param` names it",
    "404": "Another model is asked for than is served",
    "408": "The body came too slowly",
    "413": "The body is too large",
    "503": "The queue is full: try again after Retry-After seconds",
}

ROUTE: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": _REQUEST}}},
    "responses": {
        "200": {"description": "OK", "content": {"application/json": {"schema": _ANSWER}}},
        **{
            status: {"description": text, "content": {"application/json": {"schema": _ERROR}}}
            for status, text in _REFUSALS.items()
        },
    },
}
