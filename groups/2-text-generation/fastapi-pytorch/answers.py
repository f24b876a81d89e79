"""Answers as OpenAI's API writes them: whole, and in chunks."""

import time
import uuid
from collections.abc import Sequence
from typing import Any

import orjson

from batcher import Piece

DONE = b"data: [DONE]\n\n"


class Writer:
    """Writes one request's answer."""

    def __init__(
        self, model: str, prompt: list[int], *, chat: bool, token_ids: bool, usage: bool
    ) -> None:
        self._chat = chat
        self._token_ids = token_ids
        self._usage = usage
        self._prompt = prompt
        self._produced = 0
        kind = "chat.completion" if chat else "text_completion"
        name = f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}"
        self._head = {"id": name, "object": kind, "created": int(time.time()), "model": model}

    def whole(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        text = "".join(piece.text for piece in pieces)
        tokens = [token for piece in pieces for token in piece.tokens]
        self._produced = len(tokens)
        said = {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        choice = self._choice(said, tokens, pieces[-1].finish)
        return {**self._head, "choices": [choice], "usage": self.usage()}

    def events(self, pieces: Sequence[Piece]) -> bytes:
        """Server-sent events for these pieces, with all that comes after the last one."""
        written: list[bytes] = []
        if self._chat and not self._produced:
            role = {"delta": {"role": "assistant", "content": ""}}
            written.append(self._event([self._choice(role, None, None)]))
        for piece in pieces:
            self._produced += len(piece.tokens)
            said = {"delta": {"content": piece.text}} if self._chat else {"text": piece.text}
            written.append(self._event([self._choice(said, piece.tokens, piece.finish)]))
        if pieces[-1].finish:
            if self._usage:
                written.append(self._event([], usage=self.usage()))
            written.append(DONE)
        return b"".join(written)

    def frames(self, pieces: Sequence[Piece]) -> list[str]:
        """WebSocket frames: one a piece; the last one says `"done":true`."""
        frames: list[str] = []
        for piece in pieces:
            self._produced += len(piece.tokens)
            said: dict[str, Any] = {"text": piece.text, "token_ids": piece.tokens}
            if piece.finish:
                said |= {"finish_reason": piece.finish, "usage": self.usage(), "done": True}
            frames.append(orjson.dumps(said).decode())
        return frames

    def usage(self) -> dict[str, int]:
        asked, said = len(self._prompt), self._produced
        return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}

    def _choice(
        self, said: dict[str, Any], tokens: list[int] | None, finish: str | None
    ) -> dict[str, Any]:
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": finish}
        if self._token_ids and tokens is not None:
            choice["token_ids"] = tokens
        return choice

    def _event(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        head = self._head
        if self._chat:
            head = {**head, "object": "chat.completion.chunk"}
        if self._usage:
            more.setdefault("usage", None)
        return b"data: " + orjson.dumps({**head, "choices": choices, **more}) + b"\n\n"
