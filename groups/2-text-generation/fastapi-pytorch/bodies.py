"""Request bodies as OpenAI's clients send them, checked, and what they ask of the generator.

`ignore_eos` and `return_token_ids` are vLLM's additions to that API.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from batcher import Job
from errors import BAD_REQUEST, MODEL_NOT_FOUND, RequestError
from sampling import Sampling
from text import Text

DEFAULT_TOKENS = 16  # of the completions API, here for chats too
# Of a list: an error for each element of a full body would cost seconds of the event loop.
FIRST = Field(fail_fast=True)
Tokens = Annotated[int, Field(ge=1)]
Stop = str | Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=4)] | None


class StreamOptions(BaseModel):
    include_usage: bool = False


class Asked(BaseModel):
    """What both kinds of request may say. Fields that no answer here depends on are left unread."""

    model: str
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stop = None
    ignore_eos: bool = False
    stream: bool = False
    stream_options: StreamOptions | None = None
    return_token_ids: bool = False
    n: Literal[1] | None = None
    logprobs: Literal[False] | None = None
    presence_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    frequency_penalty: Annotated[float, Field(ge=0, le=0)] | None = None

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    def job(self, prompt: list[int], max_tokens: int) -> Job:
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        one = 1.0
        return Job(
            prompt=prompt,
            max_tokens=max_tokens,
            sampling=Sampling(
                one if self.temperature is None else self.temperature,
                one if self.top_p is None else self.top_p,
                self.seed,
            ),
            stop=tuple(word for word in stop if word),
            ignore_eos=self.ignore_eos,
        )


class Completion(Asked):
    """POST /v1/completions. A prompt of ids is taken as it is."""

    prompt: str | Annotated[list[str], FIRST] | Annotated[list[int], FIRST]
    max_tokens: Tokens | None = None
    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None

    def to_job(self, text: Text, vocabulary: int) -> Job:
        """Raises RequestError."""
        prompt = self.prompt
        if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
            prompt = prompt[0]
        if isinstance(prompt, str):
            ids = text.encode(prompt)
        else:
            ids = [each for each in prompt if isinstance(each, int) and 0 <= each < vocabulary]
            if not ids or len(ids) != len(prompt):
                raise RequestError(
                    BAD_REQUEST,
                    f"prompt: one text, or ids from 0 to {vocabulary - 1}; one prompt a request",
                    "prompt",
                )
        return self.job(ids, self.max_tokens or DEFAULT_TOKENS)


class Part(BaseModel):
    type: Literal["text"]
    text: str


class Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[Part], Field(min_length=1, fail_fast=True)]


class Chat(Asked):
    """POST /v1/chat/completions."""

    messages: Annotated[list[Message], Field(min_length=1, fail_fast=True)]
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None

    @model_validator(mode="after")
    def says_something(self) -> "Chat":
        if not any(message.content for message in self.messages):
            raise ValueError("all messages are empty")
        return self

    def to_job(self, text: Text, vocabulary: int) -> Job:
        """Raises RequestError."""
        messages: list[dict[str, Any]] = []
        for message in self.messages:
            content = message.content
            if not isinstance(content, str):
                content = "".join(part.text for part in content)
            messages.append({"role": message.role, "content": content})
        limit = self.max_completion_tokens or self.max_tokens or DEFAULT_TOKENS
        return self.job(text.encode_chat(messages), limit)


Kind = TypeVar("Kind", Completion, Chat)


def parse(kind: type[Kind], body: bytes, served: str) -> Kind:
    """The body as a request for the served model. Raises RequestError that names the field."""
    try:
        asked = kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        # The field alone: unions name each of their variants after it.
        where = str(first["loc"][0]) if first["loc"] else None
        said = f"{where}: {first['msg']}" if where else first["msg"]
        raise RequestError(BAD_REQUEST, said, where) from None
    check_model(asked.model, served)
    return asked


def check_model(asked: str, served: str) -> None:
    """Raises RequestError."""
    if asked != served:
        raise RequestError(
            MODEL_NOT_FOUND, f"the model {asked!r} is not served here, {served!r} is", "model"
        )
