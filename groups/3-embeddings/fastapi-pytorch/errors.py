"""Everything that a request can be refused for, with its HTTP and its gRPC status."""

from dataclasses import dataclass

from grpc import StatusCode


@dataclass(frozen=True, slots=True)
class Fault:
    """`code` is stable, for programs; `param` is the field at fault, as OpenAI's errors name it."""

    code: str
    http: int
    grpc: StatusCode
    param: str | None = None


INVALID = StatusCode.INVALID_ARGUMENT
BAD_JSON = Fault("bad_json", 400, INVALID)
BAD_REQUEST = Fault("bad_request", 400, INVALID)
EMPTY_INPUT = Fault("empty_input", 400, INVALID, "input")
BAD_INPUT = Fault("bad_input", 400, INVALID, "input")
TOO_MANY_TEXTS = Fault("too_many_texts", 400, INVALID, "input")
TEXT_TOO_LONG = Fault("text_too_long", 400, INVALID, "input")
BAD_FORMAT = Fault("bad_encoding_format", 400, INVALID, "encoding_format")
BAD_DIMENSIONS = Fault("bad_dimensions", 400, INVALID, "dimensions")
BAD_OPTION = Fault("bad_option", 400, INVALID)
MODEL_NOT_FOUND = Fault("model_not_found", 404, StatusCode.NOT_FOUND, "model")
SLOW_BODY = Fault("slow_body", 408, StatusCode.DEADLINE_EXCEEDED)
BODY_TOO_LARGE = Fault("body_too_large", 413, INVALID)
INFERENCE_FAILED = Fault("inference_failed", 500, StatusCode.INTERNAL)
QUEUE_FULL = Fault("queue_full", 503, StatusCode.RESOURCE_EXHAUSTED)


class RequestError(Exception):
    """A request that gets no answer: why, in one sentence that its sender can act on."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault
        self.message = message
