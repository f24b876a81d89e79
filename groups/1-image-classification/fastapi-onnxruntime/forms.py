"""multipart/form-data that is already in memory, to the bytes of its `image` parts.

Starlette's own form parser writes parts to temporary files; a body of at most 20 MB needs no disk.
"""

from email.message import Message
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from errors import BAD_MULTIPART, TOO_MANY_IMAGES, WRONG_CONTENT_TYPE, Fault, RequestError

IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "application/octet-stream"})


def parse_header(value: str, fault: Fault = WRONG_CONTENT_TYPE) -> tuple[str, dict[str, str]]:
    """`multipart/form-data; boundary="x"` to ("multipart/form-data", {"boundary": "x"}).

    Raises RequestError of that fault. A parameter with a charset (RFC 2231) is left out: neither
    a boundary nor a part's name may have one.
    """
    message = Message()
    try:
        message["content-type"] = value
        (main, _), *parameters = message.get_params(failobj=[("", "")])
    except Exception as error:  # `email` reads what it trusts: hostile text makes it raise anything
        raise RequestError(fault, f"a header cannot be read: {value[:100]!r}: {error}") from None
    return main.strip().lower(), {k.lower(): v for k, v in parameters if isinstance(v, str)}


def images(body: bytes, boundary: str, limit: int) -> list[bytes]:
    """The parts called `image`, in order. Raises RequestError; at most `limit` are parsed."""
    parts: list[bytes] = []
    header: dict[str, bytes] = {}
    name, value, content = bytearray(), bytearray(), bytearray()
    ended = False

    def header_end() -> None:
        header[bytes(name).decode("latin-1").lower()] = bytes(value)
        name.clear()
        value.clear()

    def headers_finished() -> None:
        if len(parts) == limit:
            raise RequestError(
                TOO_MANY_IMAGES, f"more than {limit} parts: at most {limit} in a request"
            )
        _check_part(header, len(parts))
        header.clear()

    def part_end() -> None:
        parts.append(bytes(content))
        content.clear()

    def end() -> None:
        nonlocal ended
        ended = True

    def append_to(target: bytearray) -> Any:
        def callback(data: bytes, start: int, stop: int) -> None:
            target.extend(memoryview(data)[start:stop])

        return callback

    callbacks = {
        "on_header_field": append_to(name),
        "on_header_value": append_to(value),
        "on_header_end": header_end,
        "on_headers_finished": headers_finished,
        "on_part_data": append_to(content),
        "on_part_end": part_end,
        "on_end": end,
    }
    try:
        MultipartParser(boundary, callbacks).write(body)  # the first refuses long boundaries
    except (FormParserError, UnicodeEncodeError) as error:
        raise RequestError(BAD_MULTIPART, f"broken multipart body: {error}") from None
    if not ended:
        raise RequestError(
            BAD_MULTIPART, "broken multipart body: it ends before its closing boundary"
        )
    return parts


def _check_part(header: dict[str, bytes], number: int) -> None:
    said = header.get("content-disposition", b"").decode("latin-1")
    _, disposition = parse_header(said, BAD_MULTIPART)
    if disposition.get("name") != "image":
        raise RequestError(
            BAD_MULTIPART,
            f"part {number} is called {disposition.get('name')!r}: call it 'image'",
        )
    content_type, _ = parse_header(header.get("content-type", b"image/jpeg").decode("latin-1"))
    if content_type not in IMAGE_TYPES:
        raise RequestError(
            WRONG_CONTENT_TYPE,
            f"part {number} is {content_type}: send {', '.join(sorted(IMAGE_TYPES))}",
        )
