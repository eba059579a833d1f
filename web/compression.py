"""Smaller responses: ``304 Not Modified`` for what the client has, and gzip.

HTML is not compressed: it has secrets (the tokens of forms) beside text of the request, which would make the secrets
guessable by the length of the response (BREACH). The API is called with a token that no foreign page can send.
"""

import gzip

from flask import Response, request

#: Smaller bodies are sent as they are.
_SMALLEST_BYTES = 1024
#: A fast level: more saves little of JSON.
_LEVEL = 4
_COMPRESSIBLE = frozenset({"application/json", "application/problem+json", "text/vnd.graphviz", "image/svg+xml"})


def add_etag(response: Response) -> Response:
    """Add the digest of the body of a successful ``GET`` as its ETag, and answer 304 if the client has this body."""
    is_polled = request.method in ("GET", "HEAD") and request.path.startswith("/api/")
    if is_polled and response.status_code == 200 and _is_plain(response):
        response.add_etag(weak=True)  # weak, because the compressed body has the same
        response.headers.setdefault("Cache-Control", "private, no-cache")  # a cache asks every time
        response.make_conditional(request)
    return response


def compress(response: Response) -> Response:
    """Compress the body if the client accepts gzip."""
    if not _is_plain(response):
        return response
    response.vary.add("Accept-Encoding")
    if response.status_code != 304 and request.accept_encodings["gzip"]:
        body = response.get_data()
        if len(body) >= _SMALLEST_BYTES:
            response.set_data(gzip.compress(body, _LEVEL, mtime=0))
            response.headers["Content-Encoding"] = "gzip"
    return response


def _is_plain(response: Response) -> bool:
    """Return whether the body is in memory and of a compressible type."""
    return response.mimetype in _COMPRESSIBLE and not (response.is_streamed or response.direct_passthrough)
