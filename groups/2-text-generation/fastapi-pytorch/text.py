"""Text to tokens and back: the tokenizer, the chat template, and an answer's text as it grows."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from errors import BAD_REQUEST, TOO_LONG, RequestError


class Text:
    """What the artefact says about text. Safe to share between threads."""

    def __init__(self, folder: Path, context: int) -> None:
        """`context`: tokens that the model can hold; longer texts are not even tokenized."""
        self.tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        # Each token spells at most the longest one's bytes, and a character is a byte or more.
        self._most = context * max(map(len, self.tokenizer.get_vocab()))
        settings = json.loads((folder / "tokenizer_config.json").read_bytes())
        # The template is the artefact's, but what fills it is anybody's: hence the sandbox.
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        self._template = environment.from_string(settings["chat_template"])

    def encode(self, text: str) -> list[int]:
        """Ids; no token of the model's own is added before or after. Raises RequestError."""
        if len(text) > self._most:  # a megabyte would take half a second of the event loop
            raise RequestError(
                TOO_LONG,
                f"the prompt has {len(text)} characters: the context holds at most {self._most}",
                "prompt",
            )
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        if not ids:
            raise RequestError(BAD_REQUEST, "the prompt is empty: send some text", "prompt")
        return ids

    def encode_chat(self, messages: Sequence[dict[str, Any]]) -> list[int]:
        """Ids of a conversation up to where the assistant speaks. Raises RequestError."""
        try:
            text = self._template.render(messages=messages, add_generation_prompt=True)
        except TemplateError as error:
            raise RequestError(
                BAD_REQUEST, f"these messages don't fit the chat template: {error}", "messages"
            ) from None
        return self.encode(text)


class Answer:
    """The text of one answer, token by token."""

    def __init__(self, text: Text, stop: Sequence[str]) -> None:
        self._tokenizer = text.tokenizer
        self._decoder = DecodeStream(skip_special_tokens=True)
        self._stop = stop
        self._held = ""  # may be the beginning of a stop string: not given out yet

    def push(self, token: int) -> tuple[str, bool]:
        """The text that is certain now, and whether a stop string ended it (which is left out)."""
        # A character of several tokens comes when its last one does.
        self._held += self._decoder.step(self._tokenizer, token) or ""
        ends = [at for word in self._stop if (at := self._held.find(word)) >= 0]
        if ends:
            return self._held[: min(ends)], True
        keep = max((overlap(self._held, word) for word in self._stop), default=0)
        sure = len(self._held) - keep
        given, self._held = self._held[:sure], self._held[sure:]
        return given, False

    def rest(self) -> str:
        """What was held back, when the answer ends without a stop string."""
        held, self._held = self._held, ""
        return held


def overlap(text: str, word: str) -> int:
    """How many characters at the text's end could begin the word."""
    return next(
        (n for n in range(min(len(text), len(word) - 1), 0, -1) if word.startswith(text[-n:])), 0
    )
