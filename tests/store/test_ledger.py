"""Sums of the ledger's lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ketline.store import ledger, schema, tables

DAY = 86_400.0


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sa.Connection]:
    engine = schema.connect(f"sqlite:///{tmp_path / 'ledger.db'}", 1)
    schema.upgrade(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def line(connection: sa.Connection, seconds: float, ended_at: float, **facts: Any) -> None:
    row = {
        "instance_id": "x", "user_id": "ann", "qpu_id": "ket_fez", "workload_id": None, "job_id": None,
        "started_at": ended_at - seconds, "ended_at": ended_at, "seconds": seconds, "rule": "locked", **facts,
    }  # fmt: skip
    connection.execute(sa.insert(tables.usage), row)


def test_totals_tell_jobs_batches_and_sessions_apart(connection: sa.Connection) -> None:
    line(connection, 3.0, 10.0, job_id="j1")
    line(connection, 4.0, 20.0, job_id="j2", workload_id="b1")
    line(connection, 5.0, 30.0, job_id="j3", workload_id="b1")
    line(connection, 60.0, 100.0, workload_id="s1")
    line(connection, 40.0, 200.0, workload_id="s1")
    found = {total.kind: total for total in ledger.totals(connection, ledger.LedgerQuery())}
    assert (found["individual_jobs"].count, found["individual_jobs"].seconds) == (1, 3.0)
    assert (found["batch_sessions"].count, found["batch_sessions"].seconds) == (1, 9.0)
    assert (found["dedicated_sessions"].count, found["dedicated_sessions"].seconds) == (1, 100.0)
    assert found["dedicated_sessions"].longest_seconds == 60.0


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("instance", {"x": 3.0, "y": 7.0}),
        ("backend", {"ket_fez": 7.0, "ket_manila": 3.0}),
        ("user_id", {"ann": 9.0, "bob": 1.0}),
        ("date", {0.0: 2.0, DAY: 8.0}),
    ],
)
def test_totals_by_group(connection: sa.Connection, by: Any, expected: dict[Any, float]) -> None:
    line(connection, 2.0, 100.0, job_id="j1", qpu_id="ket_manila")
    line(connection, 1.0, DAY, job_id="j2", user_id="bob", qpu_id="ket_manila")
    line(connection, 7.0, DAY + 5, job_id="j3", instance_id="y")
    totals = ledger.totals(connection, ledger.LedgerQuery(), by)
    assert {total.group: total.seconds for total in totals} == expected


def test_an_interval_is_open_at_its_end(connection: sa.Connection) -> None:
    for at in (10.0, 20.0, 30.0):
        line(connection, 1.0, at, job_id=f"j{at}")
    wanted = ledger.LedgerQuery(start=10.0, end=30.0)
    assert ledger.totals(connection, wanted)[0].count == 2


def test_lines_come_in_pages_and_each_once(connection: sa.Connection) -> None:
    for index in range(25):
        line(connection, 1.0, float(index), job_id=f"j{index}", user_id="ann" if index % 2 else "bob")
    pages = list(ledger.lines(connection, ledger.LedgerQuery(users=("ann",)), page=5))
    assert [row["job_id"] for page in pages for row in page] == [f"j{i}" for i in range(1, 25, 2)]
    assert [len(page) for page in pages] == [5, 5, 2]


def test_members_are_those_of_the_instances_asked_for(connection: sa.Connection) -> None:
    line(connection, 1.0, 1.0, job_id="j1")
    line(connection, 1.0, 1.0, job_id="j2", instance_id="y", user_id="bob", qpu_id="ket_manila")
    assert ledger.members(connection, ("y",)) == {
        "instances": ["y"],
        "backends": ["ket_manila"],
        "users": ["bob"],
    }
