"""Connections on which nothing comes: who opens many and says little holds memory and sockets for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_LOOKS = 5
"""How often in the time that a connection may be silent all of them are looked at."""


class PatientProtocol(HttpToolsProtocol):
    """Uvicorn's protocol that remembers when the client was last heard."""

    heard_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come."""
        super().connection_made(transport)
        self.heard_at = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """A client says something."""
        self.heard_at = self.loop.time()
        super().data_received(data)

    @property
    def waits_for_client(self) -> bool:
        """Whether it is the client's turn: no request has begun, or one has begun and isn't complete."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body


async def end_silence(connections: Iterable[object], seconds: float) -> None:
    """Close every connection whose client should say something and hasn't for so long; never returns."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(seconds / _LOOKS)
        now = loop.time()
        for connection in tuple(connections):
            if (
                isinstance(connection, PatientProtocol)
                and now - connection.heard_at > seconds
                and connection.waits_for_client
            ):
                connection.transport.abort()
