"""The store on SQLite, and on PostgreSQL when KETLINE_TEST_POSTGRESQL names a server's URL."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ketline.store.store import Store

POSTGRESQL = os.environ.get("KETLINE_TEST_POSTGRESQL")


def _postgresql_url() -> Iterator[str]:
    assert POSTGRESQL is not None
    server = sa.create_engine(POSTGRESQL, isolation_level="AUTOCOMMIT")
    name = f"ketline_{uuid.uuid4().hex}"
    with server.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield sa.make_url(POSTGRESQL).set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name}"))
    server.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'ketline.db'}"
    elif POSTGRESQL is None:
        pytest.skip("KETLINE_TEST_POSTGRESQL names no server")
    else:
        yield from _postgresql_url()


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    failures: list[BaseException] = []
    opened = Store(database_url, failures.append)
    yield opened
    opened.close()
    assert not failures
