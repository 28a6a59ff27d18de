"""The parent's side of one child process: JSON messages to and fro, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any

import orjson

from ketline.compute import entry

_context = multiprocessing.get_context("forkserver")
# Starting a process waits for the fork server, which takes seconds to load the first time.
_starters = ThreadPoolExecutor(1, thread_name_prefix="ketline-starter")
_main_lock = threading.Lock()
_STARTING_SECONDS = 1.0
"""How long whoever ends a child waits for one that is just being started."""


def preload(modules: Sequence[str]) -> None:
    """Name the modules that every child finds loaded. Has no effect once the first child has started."""
    _context.set_forkserver_preload(["ketline.compute.preload", *modules, "ketline.compute.freeze"])


@contextlib.contextmanager
def _no_main() -> Iterator[None]:
    """Keep `multiprocessing` from importing the parent's main module in the child: it has no use for it."""
    with _main_lock:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


class Child:
    """A process forked from the warm parent, which runs ``target(connection, spec)``.

    ``message`` is called for every message and ``ended``, once and last, with what is known of the end.
    """

    def __init__(
        self,
        target: str,
        spec: dict[str, Any],
        *,
        message: Callable[[dict[str, Any]], None],
        ended: Callable[[str], None],
        niceness: int = 0,
    ) -> None:
        self._target = target
        self._spec = orjson.dumps(spec).decode()
        self._message = message
        self._ended = ended
        self._niceness = niceness
        self._loop = asyncio.get_running_loop()
        self._connection: Connection | None = None
        self._process: ForkServerProcess | None = None
        self._killed = False
        self.gone = self._loop.create_future()
        self._starting = self._loop.create_task(self._start())

    @property
    def pid(self) -> int | None:
        """The process id, once it has started."""
        return self._process.pid if self._process is not None else None

    async def _start(self) -> None:
        try:
            connection, process = await self._loop.run_in_executor(_starters, self._fork)
        except (OSError, EOFError) as error:
            # The end of a file, when the fork server died before it had started the child.
            self._finish(f"could not be started: {error or 'the fork server is gone'}")
            return
        self._connection, self._process = connection, process
        self._loop.add_reader(connection.fileno(), self._readable)
        self._loop.add_reader(process.sentinel, self._over)
        if self._killed:
            self.kill()

    def _fork(self) -> tuple[Connection, ForkServerProcess]:
        if self._killed:
            raise OSError("it isn't wanted any more")
        ours, theirs = _context.Pipe()
        try:
            process = _context.Process(
                target=entry.run, args=(theirs, self._target, self._spec, self._niceness), daemon=True
            )
            with _no_main():
                process.start()
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours, process

    def send(self, message: dict[str, Any]) -> bool:
        """Send a message; False if the child is gone or not there yet."""
        if self._connection is None:
            return False
        try:
            self._connection.send_bytes(orjson.dumps(message))
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """End it at once; ``ended`` follows."""
        self._killed = True
        if self.gone.done():
            return
        if self._process is None:
            self._loop.call_later(_STARTING_SECONDS, self._break_off)
        elif self._process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)

    def _break_off(self) -> None:
        """End the fork server if it is still loading; only who stops kills a child that hasn't started."""
        pid = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]  # noqa: SLF001 - no other way
        if self._process is None and not self.gone.done() and pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _readable(self) -> None:
        assert self._connection is not None
        try:
            content = self._connection.recv_bytes()
        except (EOFError, OSError):
            # Nothing more is to be heard of it: it is ending, or has no business going on.
            self._close_connection()
            self._loop.call_later(1.0, self.kill)
            return
        self._message(orjson.loads(content))

    def _over(self) -> None:
        assert self._process is not None
        self._loop.remove_reader(self._process.sentinel)
        while self._connection is not None and self._connection.poll(0):
            self._readable()
        self._close_connection()
        self._process.join()
        code = self._process.exitcode
        self._process.close()
        self._process = None
        self._finish(_ending(code))

    def _close_connection(self) -> None:
        if self._connection is not None:
            self._loop.remove_reader(self._connection.fileno())
            self._connection.close()
            self._connection = None

    def _finish(self, ending: str) -> None:
        self.gone.set_result(ending)
        self._ended(ending)


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    return f"exit status {code}"
