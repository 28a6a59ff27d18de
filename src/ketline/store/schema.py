"""Opens the database and brings its schema up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

HEAD = "0002"
"""The newest migration; a database that is there already needs no look at the others."""


class StoreError(Exception):
    """The store can't be used; the message says where and why, and what to do."""


def connect(url: str, readers: int = 4) -> sa.Engine:
    """Make the engine. SQLite gets write-ahead logging, and a commit that has returned is on the disk."""
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() == "sqlite":
            engine = sa.create_engine(
                parsed, poolclass=sa.QueuePool, pool_size=readers + 1, max_overflow=2,
                connect_args={"check_same_thread": False, "timeout": 30.0},
            )  # fmt: skip
            event.listen(engine, "connect", _tune_sqlite)
        else:
            engine = sa.create_engine(parsed, pool_size=readers + 1, max_overflow=2, pool_pre_ping=True)
    except (sa.exc.ArgumentError, ImportError) as error:
        raise StoreError(f"store.database_url: {error}") from error
    return engine


def _tune_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA temp_store=MEMORY")
    cursor.execute("PRAGMA cache_size=-32768")
    cursor.execute("PRAGMA journal_size_limit=67108864")
    cursor.close()


def version(engine: sa.Engine) -> str | None:
    """The migration that the database stands at; None for an empty one."""
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
        return str(found) if found is not None else None


def require_head(engine: sa.Engine) -> None:
    """Refuse a database that isn't of this version, and change nothing."""
    at = _version_or_refusal(engine)
    if at != HEAD:
        raise StoreError(
            f"The database {engine.url!r} is of schema {at or 'none'}; this Ketline works with {HEAD}. "
            "Starting a server with it brings an older one up to date."
        )


def _version_or_refusal(engine: sa.Engine) -> str | None:
    try:
        return version(engine)
    except sa.exc.DBAPIError as error:
        raise StoreError(f"The database {engine.url!r} can't be opened: {error.orig}") from error


def upgrade(engine: sa.Engine) -> None:
    """Run the migrations that are missing."""
    at = _version_or_refusal(engine)
    if at == HEAD:
        return
    # Alembic takes a while to import, and is rarely needed.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    try:
        ScriptDirectory.from_config(config).get_revision(at or HEAD)
    except CommandError as error:
        raise StoreError(
            f"The database {engine.url!r} is of a newer Ketline (schema {at}); this one knows up to {HEAD}. "
            "Start it with the Ketline that wrote it."
        ) from error
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
