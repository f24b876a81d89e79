"""Asks a server by the official client alone, nothing of its own; prints what came as JSON.

python -P ask.py http://127.0.0.1:8000/v1 gpt2 "a prompt"
"""

import asyncio
import json
import sys
from typing import Any

import openai

GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 8, "extra_body": {"ignore_eos": True}}


def sync(base: str, model: str, prompt: str) -> dict[str, Any]:
    """Both routes, whole and streamed."""
    client = openai.OpenAI(base_url=base, api_key="none")
    messages: Any = [{"role": "user", "content": prompt}]
    whole = client.completions.create(model=model, prompt=prompt, **GREEDY)
    chat = client.chat.completions.create(model=model, messages=messages, **GREEDY)
    options: Any = {"include_usage": True}
    streamed = list(
        client.completions.create(
            model=model, prompt=prompt, stream=True, stream_options=options, **GREEDY
        )
    )
    chatted = list(
        client.chat.completions.create(model=model, messages=messages, stream=True, **GREEDY)
    )
    return {
        "models": [one.id for one in client.models.list()],
        "whole": whole.choices[0].text,
        "usage": whole.usage.completion_tokens if whole.usage else None,
        "streamed": "".join(c.choices[0].text for c in streamed if c.choices),
        "streamed_usage": streamed[-1].usage.completion_tokens if streamed[-1].usage else None,
        "chat": chat.choices[0].message.content,
        "chatted": "".join(c.choices[0].delta.content or "" for c in chatted),
        "finish": chatted[-1].choices[0].finish_reason,
    }


async def several(base: str, model: str, prompt: str) -> list[str]:
    """Three streams at a time by the asynchronous client."""
    async with openai.AsyncOpenAI(base_url=base, api_key="none") as client:

        async def one() -> str:
            stream = await client.completions.create(
                model=model, prompt=prompt, stream=True, **GREEDY
            )
            return "".join([c.choices[0].text async for c in stream])

        return list(await asyncio.gather(one(), one(), one()))


def errors(base: str, model: str) -> dict[str, str]:
    """The client's own exception class for each fault."""
    client = openai.OpenAI(base_url=base, api_key="none", max_retries=0)
    faults: dict[str, dict[str, Any]] = {
        "empty prompt": {"model": model, "prompt": ""},
        "unknown model": {"model": "gpt-9", "prompt": "a"},
        "too long": {"model": model, "prompt": "a", "max_tokens": 100_000},
        "temperature": {"model": model, "prompt": "a", "temperature": 9.0},
    }
    found: dict[str, str] = {}
    for name, asked in faults.items():
        try:
            client.completions.create(**asked)
            found[name] = "no error"
        except openai.APIStatusError as error:
            found[name] = f"{type(error).__name__} {error.code}"
    return found


def main(base: str, model: str, prompt: str) -> None:
    found = sync(base, model, prompt)
    found["several"] = asyncio.run(several(base, model, prompt))
    found["errors"] = errors(base, model)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
