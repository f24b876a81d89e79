"""HTTP to what runs on this machine: never by the proxy that an environment names."""

import urllib.request
from http.client import HTTPResponse
from typing import cast

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def open_url(url: str, timeout_s: float, method: str = "GET") -> HTTPResponse:
    """Send a request without a body; to be used as a context. Raises OSError, ValueError."""
    request = urllib.request.Request(url, method=method)
    return cast(HTTPResponse, OPENER.open(request, timeout=timeout_s))
