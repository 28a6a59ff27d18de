"""The queries: what they find, in which order, and by which index."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from store_rows import new_job, usage_row, workload_row

from ketline.store import queries, tables
from ketline.store.changes import Changes
from ketline.store.queries import ItemQuery, JobQuery
from ketline.store.store import Store


@pytest.fixture
def full(store: Store) -> Store:
    """Thirty jobs of two users on two backends, every third finished, every fifth in a batch."""
    changes = Changes()
    for number in range(30):
        changes.absorb(
            new_job(
                number,
                user_id="ada" if number % 2 else "bob",
                backend="ket_fez" if number < 20 else "ket_manila",
                finished_at=100.0 if number % 3 == 0 else None,
                status="completed" if number % 3 == 0 else "queued",
                workload_id="work000001" if number % 5 == 0 else None,
            )
        )
        if number % 4 == 0:
            changes.new_tags.append({"instance_id": "here", "tag": "four", "job_id": f"job{number:06d}"})
        if number % 6 == 0:
            changes.new_tags.append({"instance_id": "here", "tag": "six", "job_id": f"job{number:06d}"})
    changes.absorb(new_job(99, instance_id="elsewhere"))
    changes.add_workload(workload_row(1, created_at=4.5))
    changes.add_workload(
        workload_row(2, created_at=10.5, mode="dedicated", progress="completed", closed_at=11.0)
    )
    store.writer.write(changes).result(10)
    return store


def found(store: Store, **wanted: Any) -> tuple[list[int], int]:
    rows, total = store.read_now(queries.jobs, JobQuery("here", **wanted))
    return [int(row["job_id"][3:]) for row in rows], total


def test_newest_first_in_pages(full: Store) -> None:
    assert found(full, limit=3) == ([29, 28, 27], 30)
    assert found(full, limit=3, offset=28) == ([1, 0], 30)
    assert found(full, limit=3, offset=31) == ([], 30)
    assert found(full, limit=2, ascending=True) == ([0, 1], 30)


@pytest.mark.parametrize(
    ("wanted", "keep"),
    [
        ({"pending": True}, lambda n: n % 3),
        ({"pending": False}, lambda n: not n % 3),
        ({"backend": "ket_manila"}, lambda n: n >= 20),
        ({"user_id": "ada", "pending": True}, lambda n: n % 2 and n % 3),
        ({"program": "estimator"}, lambda n: False),
        ({"workload_id": "work000001"}, lambda n: not n % 5),
        ({"workload_id": "work000001", "pending": False}, lambda n: not n % 15),
        ({"tags": ("four",)}, lambda n: not n % 4),
        ({"tags": ("four", "six")}, lambda n: not n % 12),
        ({"created_after": 10.0}, lambda n: n >= 10),
        ({"created_after": 10.0, "created_before": 12.0}, lambda n: 10 <= n <= 12),
        (
            {"tags": ("four",), "pending": True, "backend": "ket_fez"},
            lambda n: not n % 4 and n % 3 and n < 20,
        ),
    ],
    ids=lambda value: "-" if callable(value) else str(value),
)
def test_every_filter_and_its_count(full: Store, wanted: dict[str, Any], keep: Any) -> None:
    expected = [n for n in reversed(range(30)) if keep(n)]
    assert found(full, **wanted) == (expected, len(expected))
    assert found(full, **wanted, limit=1) == (expected[:1], len(expected))


def test_unfinished_jobs_in_the_order_of_submission(full: Store) -> None:
    rows = full.read_now(queries.unfinished_jobs)
    assert [row["seq"] for row in rows] == [*(n for n in range(30) if n % 3), 99]
    assert [row["workload_id"] for row in full.read_now(queries.unclosed_workloads)] == ["work000001"]


def plan(store: Store, query: sa.Select[Any]) -> str:
    text = query.compile(
        dialect=sa.create_engine("sqlite://").dialect, compile_kwargs={"literal_binds": True}
    )

    def explain(connection: sa.Connection) -> str:
        return " ".join(row[3] for row in connection.execute(sa.text(f"EXPLAIN QUERY PLAN {text}")))

    return store.read_now(explain)


def test_what_start_and_lists_need_is_indexed(tmp_path: Any) -> None:
    store = Store(f"sqlite:///{tmp_path / 'k.db'}", lambda _: None)
    j, w = tables.jobs, tables.workloads
    unfinished = sa.select(j).where(j.c.finished_at.is_(None)).order_by(j.c.seq)
    unclosed = sa.select(w).where(w.c.closed_at.is_(None)).order_by(w.c.seq)
    page = sa.select(j).where(j.c.instance_id == "here").order_by(j.c.created_at.desc(), j.c.job_id.desc())
    used = sa.select(sa.func.sum(tables.usage.c.seconds)).where(
        tables.usage.c.instance_id == "here", tables.usage.c.ended_at >= 5.0
    )
    for query, index in (
        (unfinished, "jobs_unfinished"),
        (unclosed, "workloads_unclosed"),
        (page.limit(20), "jobs_by_instance"),
        (used, "COVERING INDEX usage_by_instance"),
    ):
        steps = plan(store, query)
        assert index in steps
        assert "TEMP B-TREE" not in steps
    store.close()


def test_usage_by_minute_sums_and_forgets(store: Store) -> None:
    changes = Changes()
    changes.usage += [usage_row(60.0, 1.0), usage_row(70.0, 2.0), usage_row(600.0, 4.0)]
    changes.usage.append(usage_row(600.0, 8.0, instance="elsewhere"))
    store.writer.write(changes).result(10)
    everything = store.read_now(queries.usage_by_minute, "here", None)
    assert [seconds for _, seconds in everything] == [3.0, 4.0]
    assert everything[-1][0] == 600.0
    assert store.read_now(queries.usage_by_minute, "here", 65.0) == [(70.0, 2.0), (600.0, 4.0)]


def items(store: Store, **wanted: Any) -> tuple[list[str], int]:
    rows, total = store.read_now(queries.items, ItemQuery("here", **wanted))
    return [row["job_id"] if kind == "job" else row["workload_id"] for kind, row in rows], total


def test_items_mix_single_jobs_with_workloads(full: Store) -> None:
    first, total = items(full, limit=5, ascending=True)
    assert first == ["job000001", "job000002", "job000003", "job000004", "work000001"]
    assert total == 24 + 2
    assert items(full, limit=2, modes=("dedicated", "batch"))[0] == ["work000002", "work000001"]
    assert items(full, limit=1, modes=("batch",)) == (["work000001"], 1)
    assert items(full, progresses=("completed",), job_statuses=("completed",), limit=50)[1] == 8 + 1
    assert items(full, without_backends=("ket_fez",), limit=50)[1] == 8
    assert items(full, search="work0", limit=50) == (["work000002", "work000001"], 2)


def test_items_page_forth_and_back(full: Store) -> None:
    everything, _ = items(full, limit=100)
    assert len(everything) == 26
    rows, _ = full.read_now(queries.items, ItemQuery("here", limit=10))
    at = (rows[-1][1]["created_at"], everything[9])
    assert items(full, limit=10, after=at)[0] == everything[10:20]
    assert items(full, limit=4, after=(at[0], everything[9]), backwards=True)[0] == everything[5:9]
