"""The server process: sockets, signals, and the order of starting and stopping."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
import uvloop

from ketline.api.app import create_app
from ketline.api.patience import PatientProtocol, end_silence
from ketline.config import Settings
from ketline.errors import CANNOT_LISTEN, KetlineError
from ketline.logs import LineFormatter
from ketline.service import runtime as service

_BACKLOG = 4_096
_KEEP_ALIVE_SECONDS = 75
_REQUEST_SECONDS = 900
"""What sending one request may take: the largest payload at 60 kB/s."""
_GRACEFUL_SECONDS = 5


Ready = Callable[[str, str], None]
"""Told two URLs: how clients see the server, and where it is on this machine, behind no proxy."""


def run(settings: Settings, data_dir: Path, *, ready: Ready | None = None) -> None:
    """Serve until SIGTERM or SIGINT; port 0 takes a free one.

    ``ready`` is called once requests are answered; without it, a line is printed. Raises CANNOT_LISTEN.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter())
    logging.basicConfig(handlers=[handler])
    _allow_many_connections()
    with contextlib.closing(_listen(settings.server.host, settings.server.port)) as listener:
        uvloop.run(_serve(settings, data_dir, listener, ready or _announce))


async def _serve(settings: Settings, data_dir: Path, listener: socket.socket, ready: Ready) -> None:
    local = local_url(listener)
    public = settings.server.public_url
    url = public.rstrip("/") if public else local
    runtime = await service.start(settings, data_dir)
    try:
        app = await create_app(runtime, settings)
        server = _Server(
            uvicorn.Config(
                app,
                http=PatientProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                backlog=_BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_GRACEFUL_SECONDS,
            ),
            started=lambda: ready(url, local),
            stopping=app.state.holding.close,
        )
        silence = asyncio.create_task(
            end_silence(server.server_state.connections, _KEEP_ALIVE_SECONDS, _REQUEST_SECONDS)
        )
        try:
            await server.serve(sockets=[listener])
        finally:
            silence.cancel()
    finally:
        await runtime.stop()


class _Server(uvicorn.Server):
    """Uvicorn that tells when it answers, and on a signal lets held requests go and ends ``serve``."""

    def __init__(
        self, config: uvicorn.Config, *, started: Callable[[], None], stopping: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._tell_started = started
        self._stopping = stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then tell."""
        await super().startup(sockets)
        self._tell_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT while serving."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _stop(self) -> None:
        self.should_exit = True
        self._stopping()


def local_url(listener: socket.socket) -> str:
    """The URL under which this machine reaches the server."""
    host, port = listener.getsockname()[:2]
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _listen(host: str, port: int) -> socket.socket:
    listener: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise KetlineError(CANNOT_LISTEN, host=host, port=port, why=error.strerror or error) from error
    listener.setblocking(False)
    return listener


def _allow_many_connections() -> None:
    """Raise the limit on open files as far as it goes: every waiting client holds a connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _announce(url: str, _: str) -> None:
    print(f"Ketline is ready at {url}", flush=True)  # noqa: T201 - the line that whoever started us waits for
