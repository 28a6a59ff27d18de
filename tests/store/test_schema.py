"""The schema: migrations build what the tables say, and a database of another version is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from store_rows import job_row

from ketline.store import queries, schema
from ketline.store.store import Store
from ketline.store.tables import JOB_LIFE, metadata


def test_migrations_build_exactly_the_tables(store: Store, database_url: str) -> None:
    engine = sa.create_engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def _migrations() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def test_head_names_the_newest_migration() -> None:
    assert ScriptDirectory.from_config(_migrations()).get_current_head() == schema.HEAD


def test_jobs_of_the_first_tables_are_kept(database_url: str) -> None:
    engine = schema.connect(database_url)
    config = _migrations()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        columns = sa.MetaData()
        columns.reflect(connection, only=["jobs"])
        old = {**job_row(1), "runtime": "", "tags": '["a"]'}
        connection.execute(sa.insert(columns.tables["jobs"]), old)
    engine.dispose()
    store = Store(database_url, lambda _: None)
    kept = store.read_now(queries.job, old["job_id"])
    store.close()
    assert kept is not None
    assert dict(kept) == {name: value for name, value in old.items() if name != "runtime"}


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'k.db'}"
    Store(url, lambda _: None).close()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(schema.StoreError, match=r"newer Ketline \(schema 9999\)"):
        Store(url, lambda _: None)


@pytest.mark.parametrize(
    "url", ["nonsense", "sqlite:////nowhere/at/all/k.db", "strange+dialect://x"], ids=str
)
def test_an_unusable_url_is_refused_by_name(url: str) -> None:
    with pytest.raises(schema.StoreError, match=r"can't be opened|store\.database_url"):
        Store(url, lambda _: None)


def test_sqlite_syncs_fully_and_writes_ahead(tmp_path: Path) -> None:
    engine = schema.connect(f"sqlite:///{tmp_path / 'k.db'}")
    with engine.connect() as connection:
        assert connection.execute(sa.text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(sa.text("PRAGMA synchronous")).scalar() == 2
    engine.dispose()


def test_a_jobs_life_is_what_changes() -> None:
    assert JOB_LIFE[0] == "tags"
    assert {"status", "stage", "finished_at", "revision"} <= set(JOB_LIFE)
    assert not {"job_id", "instance_id", "created_at", "program"} & set(JOB_LIFE)
