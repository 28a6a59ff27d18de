"""Connections on which little comes: who opens many and says little holds memory and sockets for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_LOOKS = 5
"""How often in the time that a connection may be silent all of them are looked at."""


class PatientProtocol(HttpToolsProtocol):
    """Uvicorn's protocol that remembers when the client was last heard, and when its request began."""

    heard_at = 0.0
    begun_at: float | None = None
    """When the first byte came of a request that isn't complete yet."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come."""
        super().connection_made(transport)
        self.heard_at = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """A client says something."""
        self.heard_at = self.loop.time()
        if self.begun_at is None:
            self.begun_at = self.heard_at
        super().data_received(data)
        if not self.waits_for_client:
            self.begun_at = None

    @property
    def waits_for_client(self) -> bool:
        """Whether it is the client's turn: no request has begun, or one has begun and isn't complete."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body


async def end_silence(connections: Iterable[object], seconds: float, whole_seconds: float) -> None:
    """Close connections whose client should say something and doesn't; never returns.

    Args:
        connections: the server's, as they are at each look.
        seconds: how long a client may be silent.
        whole_seconds: how long it may take for one request, however often it says a little of it.
    """
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(seconds / _LOOKS)
        now = loop.time()
        for connection in tuple(connections):
            if not isinstance(connection, PatientProtocol) or not connection.waits_for_client:
                continue
            begun = connection.begun_at
            if now - connection.heard_at > seconds or (begun is not None and now - begun > whole_seconds):
                connection.transport.abort()
