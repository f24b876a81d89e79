"""The container's health check: one real inference over HTTP. Exits 0 if the server works."""

import os
import sys
import urllib.error
import urllib.request
import zlib
from struct import pack


def grey_png(side: int) -> bytes:
    """A grey square as PNG, without Pillow: it would take longer to import than the check takes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress((b"\0" + b"\x80" * side) * side)
    header = chunk(b"IHDR", pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def main() -> int:
    model = os.environ.get("MODEL", "resnet50")
    url = f"http://127.0.0.1:{os.environ.get('HTTP_PORT', '8080')}/predictions/{model}"
    request = urllib.request.Request(url, grey_png(224), {"content-type": "image/png"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return 0 if response.read() else 1
    except urllib.error.HTTPError as error:
        # Full is not ill: restarting a busy server would only move its load to its neighbours.
        return 0 if error.code == 503 else 1
    except OSError as error:
        print(f"{url}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
