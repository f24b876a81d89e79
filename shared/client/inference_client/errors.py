"""What can go wrong with a call, by what the caller can do about it."""

from collections.abc import Iterable
from difflib import get_close_matches

NO_ANSWER = -1  # the status of a call that was never answered, as in the raw records

LONGEST_MESSAGE = 500  # characters


class ConfigError(ValueError):
    """A stack.toml, or what was asked of it, is wrong: the message names file, key and way out."""


class InferenceError(Exception):
    """A call failed. `status` is the HTTP status or gRPC code, −1 where no answer came."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Overloaded(InferenceError):
    """The server refused because it is too busy: HTTP 429/503, gRPC RESOURCE_EXHAUSTED or
    UNAVAILABLE. Try again later."""


class BadInput(InferenceError):
    """The server refused what was sent (HTTP 4xx, gRPC INVALID_ARGUMENT and its kin)."""


class TimedOut(InferenceError):
    """No whole answer within the call's time limit, by this side's clock or the server's."""


class Unreachable(InferenceError):
    """Nobody listens there, or the connection broke before an answer came."""


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint for a name that isn't known: the nearest one, else all of them."""
    names = sorted(known)
    close = get_close_matches(word, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(names)}" if names else "there are none"


def shorten(text: str) -> str:
    """A server's own words, on one line and no longer than a message should be."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_MESSAGE else line[:LONGEST_MESSAGE] + " …"
