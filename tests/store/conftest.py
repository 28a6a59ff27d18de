"""The store on SQLite, and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import own_postgresql
import pytest

from ketline.store.store import Store


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'ketline.db'}"
    else:
        with own_postgresql.database() as url:
            yield url


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    failures: list[BaseException] = []
    opened = Store(database_url, failures.append)
    yield opened
    opened.close()
    assert not failures
