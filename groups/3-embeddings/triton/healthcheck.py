"""The container's health check: one real inference over HTTP. Exits 0 if the server works."""

import json
import os
import sys
import urllib.error
import urllib.request


def main() -> int:
    url = f"http://127.0.0.1:{os.environ.get('HTTP_PORT', '8000')}/v2/models/embed/infer"
    text = {"name": "TEXT", "datatype": "BYTES", "shape": [1, 1], "data": ["Hello"]}
    request = urllib.request.Request(url, json.dumps({"inputs": [text]}).encode())
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return 0 if b'"outputs"' in response.read() else 1
    except urllib.error.HTTPError as error:
        # Full is not ill: restarting a busy server would only move its load to its neighbours.
        return 0 if error.code == 503 else 1
    except OSError as error:
        print(f"{url}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
