"""The container's health check: one real token over HTTP. Exits 0 if the server works."""

import json
import os
import sys
import urllib.error
import urllib.request

PRODUCED = "vllm:generation_tokens_total"


def main() -> int:
    base = f"http://127.0.0.1:{os.environ.get('HTTP_PORT', '8000')}"
    asked = {"model": os.environ.get("MODEL", "gpt2"), "prompt": "Hello", "max_tokens": 1}
    kind = {"content-type": "application/json"}
    request = urllib.request.Request(f"{base}/v1/completions", json.dumps(asked).encode(), kind)
    try:
        before = produced(base)
        try:
            with urllib.request.urlopen(request, timeout=8) as response:
                return 0 if b'"completion_tokens":1' in response.read() else 1
        except urllib.error.HTTPError as error:
            # Full is not ill: restarting a busy server would only move its load to its neighbours.
            return 0 if error.code == 503 else 1
        except TimeoutError:  # nor is a long queue, as long as others are answered
            return 0 if produced(base) > before else 1
    except OSError as error:
        print(f"{base}: {error}", file=sys.stderr)
        return 1


def produced(base: str) -> float:
    """Output tokens since the start. Raises OSError."""
    with urllib.request.urlopen(f"{base}/metrics", timeout=2) as response:
        lines = response.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(PRODUCED))


if __name__ == "__main__":
    sys.exit(main())
