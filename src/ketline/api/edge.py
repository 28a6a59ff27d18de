"""The outermost layer: every way in which the client may spell an address leads to the same paths.

The client moves its services by host name (DNS or proxy) or by path (``rest.md`` A.7): a catalog on a host of
its own becomes the path ``/catalog``, and the word ``experimental``, which makes the client keep the port of
a url, is taken off again. A proxy's absolute request lines need nothing: the HTTP parser splits them.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

_EXPERIMENTAL = "/experimental/"


class Edge:
    """Rewrites the path, then hands the request on."""

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            path: str = scope["path"]
            if path.startswith(_EXPERIMENTAL):
                path = path[len(_EXPERIMENTAL) - 1 :]
                scope["path"] = path
                scope["raw_path"] = path.encode()
            if path.startswith("/api/v1/") and _named_catalog(scope):
                scope["path"] = f"/catalog{path}"
                scope["raw_path"] = scope["path"].encode()
        await self._inner(scope, receive, send)


def _named_catalog(scope: Scope) -> bool:
    for name, value in scope["headers"]:
        if name == b"host":
            return bool(value.lower().startswith(b"globalcatalog."))
    return False
