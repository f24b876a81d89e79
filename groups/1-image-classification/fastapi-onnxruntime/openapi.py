"""What /openapi.json says of the classifying routes: FastAPI can't infer it from raw bodies."""

from typing import Any

_IMAGE = {"type": "string", "format": "binary"}
_PREDICTIONS = {
    "type": "array",
    "minItems": 5,
    "maxItems": 5,
    "items": {
        "type": "object",
        "required": ["label", "index", "probability"],
        "properties": {
            "label": {"type": "string"},
            "index": {"type": "integer"},
            "probability": {"type": "number"},
        },
    },
}
_FAULT = {
    "type": "object",
    "properties": {"error": {"type": "string"}, "detail": {"type": "string"}},
}
_REFUSALS = {
    "400": "Empty body or broken multipart",
    "408": "The body came too slowly",
    "413": "Too many bytes, pixels or images",
    "415": "Wrong content type",
    "422": "Not an image, or a broken one",
    "503": "The queue is full: try again after Retry-After seconds",
}


def _route(request: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    named = {"model": {"type": "string"}, "weights": {"enum": ["pretrained", "random"]}}
    schema = {"type": "object", "properties": {**answer, **named}}
    return {
        "requestBody": {"required": True, "content": request},
        "responses": {
            "200": {"description": "OK", "content": {"application/json": {"schema": schema}}},
            **{
                status: {"description": text, "content": {"application/json": {"schema": _FAULT}}}
                for status, text in _REFUSALS.items()
            },
        },
    }


def _form(image: dict[str, Any]) -> dict[str, Any]:
    return {"schema": {"type": "object", "required": ["image"], "properties": {"image": image}}}


SINGLE_ROUTE = _route(
    {
        "image/jpeg": {"schema": _IMAGE},
        "image/png": {"schema": _IMAGE},
        "application/octet-stream": {"schema": _IMAGE},
        "multipart/form-data": _form(_IMAGE),
    },
    {"predictions": _PREDICTIONS},
)
BATCH_ROUTE = _route(
    {"multipart/form-data": _form({"type": "array", "items": _IMAGE})},
    {
        "results": {
            "type": "array",
            "items": {"type": "object", "properties": {"predictions": _PREDICTIONS}},
        }
    },
)
