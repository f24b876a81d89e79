"""How long a lone caller waits for the first text; the bare engine's prefill.py is its floor.

Run by hand, beside a server that nobody else asks:
URL=http://127.0.0.1:8000 PAYLOADS_DIR=../payloads python -P tests/first_text.py
Prints one JSON line: over the main set's prompts, each asked for once over SSE, milliseconds from
sending to the first event. Answers are two tokens long.
"""

import json
import os
import time
from pathlib import Path

import httpx


def main() -> None:
    folder = Path(os.environ["PAYLOADS_DIR"])
    asked = {"model": os.environ.get("MODEL", "gpt2"), "temperature": 0, "ignore_eos": True}
    took: list[float] = []
    with httpx.Client(base_url=os.environ["URL"], timeout=60) as client:
        for entry in json.loads((folder / "manifest.json").read_text(encoding="utf-8")):
            if entry.get("set") or entry.get("audit"):
                continue
            prompt = json.loads((folder / entry["file"]).read_text(encoding="utf-8"))["prompt"]
            body = {**asked, "prompt": prompt, "max_tokens": 2, "stream": True}
            started = time.perf_counter()
            with client.stream("POST", "/v1/completions", json=body) as response:
                response.raise_for_status()
                lines = response.iter_lines()
                next(lines)
                took.append(1000 * (time.perf_counter() - started))
                for _ in lines:
                    pass
    took = sorted(took[1:])  # the first one opens the connection
    ranks = {f"p{share}_ms": round(took[len(took) * share // 100], 1) for share in (50, 95)}
    print(json.dumps({"prompts": len(took), **ranks}))


if __name__ == "__main__":
    main()
