"""Everything that a request can be refused for, with its HTTP and its gRPC status."""

from dataclasses import dataclass

from grpc import StatusCode


@dataclass(frozen=True, slots=True)
class Fault:
    code: str  # stable, for programs; the message is for people
    http: int
    grpc: StatusCode


EMPTY_BODY = Fault("empty_body", 400, StatusCode.INVALID_ARGUMENT)
BAD_MULTIPART = Fault("bad_multipart", 400, StatusCode.INVALID_ARGUMENT)
BAD_MESSAGE = Fault("bad_message", 400, StatusCode.INVALID_ARGUMENT)
SLOW_BODY = Fault("slow_body", 408, StatusCode.DEADLINE_EXCEEDED)
BODY_TOO_LARGE = Fault("body_too_large", 413, StatusCode.INVALID_ARGUMENT)
TOO_MANY_IMAGES = Fault("too_many_images", 413, StatusCode.INVALID_ARGUMENT)
TOO_MANY_PIXELS = Fault("too_many_pixels", 413, StatusCode.INVALID_ARGUMENT)
WRONG_CONTENT_TYPE = Fault("wrong_content_type", 415, StatusCode.INVALID_ARGUMENT)
NOT_AN_IMAGE = Fault("not_an_image", 422, StatusCode.INVALID_ARGUMENT)
BROKEN_IMAGE = Fault("broken_image", 422, StatusCode.INVALID_ARGUMENT)
INFERENCE_FAILED = Fault("inference_failed", 500, StatusCode.INTERNAL)
QUEUE_FULL = Fault("queue_full", 503, StatusCode.RESOURCE_EXHAUSTED)


class RequestError(Exception):
    """A request that gets no answer: why, in one sentence that its sender can act on."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault
        self.message = message
