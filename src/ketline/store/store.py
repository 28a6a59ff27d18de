"""The store as the service sees it: one writer, several readers, one URL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa

from ketline.store import schema
from ketline.store.changes import Changes
from ketline.store.writer import Writer

P = ParamSpec("P")
R = TypeVar("R")


class Store:
    """An open database with its schema up to date.

    ``failed`` is told, in the writer's thread, when a group of changes can't be committed; nothing is
    written after that.
    """

    def __init__(self, url: str, failed: Callable[[BaseException], None], readers: int = 4) -> None:
        self._engine = schema.connect(url, readers)
        try:
            schema.upgrade(self._engine)
        except BaseException:
            self._engine.dispose()
            raise
        self._quick = self._engine.dialect.name == "sqlite"
        self.writer = Writer(self._engine, failed)
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="ketline-reader")

    async def write(self, changes: Changes) -> None:
        """Return when the changes are durable."""
        await asyncio.wrap_future(self.writer.write(changes))

    def read_now(
        self, query: Callable[Concatenate[sa.Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run a query of `ketline.store.queries` in this thread."""
        with self._engine.connect() as connection:
            return query(connection, *args, **kwargs)

    async def read_row(
        self, query: Callable[Concatenate[sa.Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run a query that finds one row by its primary key.

        SQLite answers it sooner than a thread could be woken; another database is asked in a thread.
        """
        if self._quick:
            return self.read_now(query, *args, **kwargs)
        return await self.read(query, *args, **kwargs)

    async def read(
        self, query: Callable[Concatenate[sa.Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run a query of `ketline.store.queries` in a reader's thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, lambda: self.read_now(query, *args, **kwargs))

    def close(self) -> None:
        """Write what is waiting, then let go of the database."""
        self.writer.close()
        self._readers.shutdown()
        self._engine.dispose()
