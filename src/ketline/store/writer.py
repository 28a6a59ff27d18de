"""The one writer: whatever is waiting goes into one transaction, and is answered when that is on the disk."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future

import sqlalchemy as sa

from ketline.store.changes import Changes

Failed = Callable[[BaseException], None]


class Writer:
    """A thread that owns the only connection that writes.

    ``write()`` may be called from any thread and never blocks; the futures of a group are resolved after its
    commit. A group that can't be committed ends the writer: its futures and all later ones get the error and
    ``failed`` is told, since whoever decided on the changes is then ahead of what is written down.
    """

    def __init__(self, engine: sa.Engine, failed: Failed, largest_group: int = 2_000) -> None:
        self._engine = engine
        self._failed = failed
        self._largest_group = largest_group
        self._waiting: queue.SimpleQueue[tuple[Changes, Callable[[BaseException | None], None]] | None] = (
            queue.SimpleQueue()
        )
        self._error: BaseException | None = None
        self.groups = 0
        self._thread = threading.Thread(target=self._work, name="ketline-writer", daemon=True)
        self._thread.start()

    def write(self, changes: Changes) -> Future[None]:
        """Write the changes down; the future is done when they are durable."""
        future: Future[None] = Future()

        def done(error: BaseException | None) -> None:
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        self.write_then(changes, done)
        return future

    def write_then(self, changes: Changes, done: Callable[[BaseException | None], None]) -> None:
        """The same with a call-back, which runs in the writer's thread and must be quick."""
        self._waiting.put((changes, done))

    def close(self) -> None:
        """Write what is waiting, then end."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        with self._engine.connect() as connection:
            while True:
                group = [self._waiting.get()]
                while group[-1] is not None and len(group) < self._largest_group:
                    try:
                        group.append(self._waiting.get_nowait())
                    except queue.Empty:
                        break
                entries = [entry for entry in group if entry is not None]
                self._commit(connection, entries)
                if group[-1] is None:
                    return

    def _commit(
        self,
        connection: sa.Connection,
        entries: list[tuple[Changes, Callable[[BaseException | None], None]]],
    ) -> None:
        if not entries:
            return
        if self._error is None:
            merged = Changes()
            for changes, _ in entries:
                merged.absorb(changes)
            try:
                with connection.begin():
                    merged.apply(connection)
                self.groups += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, it must reach everyone who waits
                self._error = error
                self._failed(error)
        for _, done in entries:
            done(self._error)
