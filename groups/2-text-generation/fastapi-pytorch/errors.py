"""Everything that a request can be refused for, as OpenAI's clients know it and as gRPC does."""

from dataclasses import dataclass

from grpc import StatusCode


@dataclass(frozen=True, slots=True)
class Fault:
    code: str  # stable, for programs; the message is for people
    http: int
    grpc: StatusCode
    kind: str = "invalid_request_error"


BAD_REQUEST = Fault("bad_request", 400, StatusCode.INVALID_ARGUMENT)
TOO_LONG = Fault("context_length_exceeded", 400, StatusCode.OUT_OF_RANGE)
MODEL_NOT_FOUND = Fault("model_not_found", 404, StatusCode.NOT_FOUND)
SLOW_BODY = Fault("slow_body", 408, StatusCode.DEADLINE_EXCEEDED)
BODY_TOO_LARGE = Fault("body_too_large", 413, StatusCode.INVALID_ARGUMENT)
WRONG_CONTENT_TYPE = Fault("wrong_content_type", 415, StatusCode.INVALID_ARGUMENT)
QUEUE_FULL = Fault("queue_full", 429, StatusCode.RESOURCE_EXHAUSTED, "rate_limit_error")
GENERATION_FAILED = Fault("generation_failed", 500, StatusCode.INTERNAL, "server_error")
SLOW_READER = Fault("slow_reader", 500, StatusCode.RESOURCE_EXHAUSTED, "server_error")
DRAINING = Fault("draining", 503, StatusCode.UNAVAILABLE, "server_error")


class RequestError(Exception):
    """A request that gets no answer: why, in one sentence that its sender can act on."""

    def __init__(self, fault: Fault, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.fault = fault
        self.message = message
        self.param = param

    def body(self) -> dict[str, dict[str, str | None]]:
        """The JSON that OpenAI's clients read."""
        said = {"message": self.message, "type": self.fault.kind, "param": self.param}
        return {"error": {**said, "code": self.fault.code}}
