"""The writer: groups, merging, order, and what happens when the disk says no."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from store_rows import job_row, new_job, usage_row, workload_row

from ketline.store import queries, tables
from ketline.store.changes import Changes
from ketline.store.store import Store


def life(**changes: Any) -> dict[str, Any]:
    row = job_row(1, **changes)
    return {name: row[name] for name in tables.JOB_LIFE}


def test_what_waits_is_committed_together(store: Store) -> None:
    busy, gate = threading.Event(), threading.Event()

    def hold(_: BaseException | None) -> None:
        busy.set()
        gate.wait(10)

    store.writer.write_then(Changes(), hold)
    assert busy.wait(10)
    before = store.writer.groups
    # While the writer is busy with one group, the rest gathers.
    futures = [store.writer.write(new_job(number)) for number in range(100)]
    gate.set()
    for future in futures:
        future.result(10)
    assert store.writer.groups - before == 1
    assert store.read_now(queries.jobs, queries.JobQuery("here", limit=1))[1] == 100


def test_the_later_change_of_a_row_wins_within_a_group(store: Store) -> None:
    merged = Changes()
    merged.absorb(new_job(1))
    second = Changes()
    second.change_job("job000001", life(status="running", revision=1))
    merged.absorb(second)
    third = Changes()
    third.change_job("job000001", life(status="completed", revision=2, finished_at=9.0))
    merged.absorb(third)
    store.writer.write(merged).result(10)
    row = store.read_now(queries.job, "job000001")
    assert row is not None
    assert (row["status"], row["revision"], row["finished_at"]) == ("completed", 2, 9.0)


def test_merging_leaves_the_merged_changes_alone() -> None:
    first, second, merged = new_job(1), Changes(), Changes()
    second.change_job("job000001", life(status="running"))
    merged.absorb(first)
    merged.absorb(second)
    assert first.new_jobs["job000001"]["status"] == "queued"
    assert merged.new_jobs["job000001"]["status"] == "running"


def test_changes_across_groups(store: Store) -> None:
    store.writer.write(new_job(1)).result(10)
    later = Changes()
    later.change_job("job000001", life(status="failed", reason_code=1305, reason_message="too long"))
    opened = workload_row(1)
    later.add_workload(opened)
    store.writer.write(later).result(10)
    closed = Changes()
    closed.change_workload(opened | {"state": "closed", "closed_at": 5.0})
    store.writer.write(closed).result(10)
    row = store.read_now(queries.job, "job000001")
    assert row is not None
    assert (row["status"], row["reason_code"], row["program"]) == ("failed", 1305, "sampler")
    workload = store.read_now(queries.workload, "work000001")
    assert workload is not None
    assert (workload["state"], workload["closed_at"]) == ("closed", 5.0)


def test_a_dropped_job_takes_its_tags_along(store: Store) -> None:
    made = new_job(1)
    made.new_tags.append({"instance_id": "here", "tag": "blue", "job_id": "job000001"})
    store.writer.write(made).result(10)
    assert store.read_now(queries.tags_in_use, "here", "lu") == ["blue"]
    gone = Changes()
    gone.drop_job("job000001")
    store.writer.write(gone).result(10)
    assert store.read_now(queries.job, "job000001") is None
    assert store.read_now(queries.tags_in_use, "here", "lu") == []


def test_counts_add_up(store: Store) -> None:
    for number in range(5):
        store.writer.write(new_job(number)).result(10)
    done = Changes()
    done.counts["here", "ada", "ket_fez", "sampler", True, "queued"] -= 2
    done.counts["here", "ada", "ket_fez", "sampler", True, "completed"] += 2
    store.writer.write(done).result(10)

    def count(pending: bool | None) -> int:
        return store.read_now(queries.count_jobs, queries.JobQuery("here", pending=pending))

    assert (count(True), count(False), count(None)) == (3, 2, 5)


def test_events_and_usage_keep_their_order(store: Store) -> None:
    changes = Changes()
    for number in range(3):
        changes.events.append({"at": float(number), "kind": "Kind", "subject": "s", "facts": f"{number}"})
        changes.usage.append(usage_row(number * 100.0, 1.0, job="j"))
    store.writer.write(changes).result(10)
    assert [row["facts"] for row in store.read_now(queries.events_of, "s")] == ["0", "1", "2"]
    assert [row["ended_at"] for row in store.read_now(queries.usage_lines, "j")] == [0.0, 100.0, 200.0]
    assert store.read_now(queries.last_event_at) == 2.0


def test_a_failed_commit_ends_the_writer(tmp_path: Path) -> None:
    told: list[BaseException] = []
    store = Store(f"sqlite:///{tmp_path / 'k.db'}", told.append)
    store.writer.write(new_job(1)).result(10)
    twice = store.writer.write(new_job(1))
    with pytest.raises(sa.exc.IntegrityError):
        twice.result(10)
    assert len(told) == 1
    # Whoever decided on later changes built on the lost one: nothing is written any more.
    with pytest.raises(sa.exc.IntegrityError):
        store.writer.write(new_job(2)).result(10)
    assert len(told) == 1
    assert store.read_now(queries.job, "job000002") is None
    store.close()


def test_closing_writes_what_waits(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'k.db'}"
    store = Store(url, lambda _: None)
    futures = [store.writer.write(new_job(number)) for number in range(50)]
    store.close()
    assert all(future.done() and future.exception() is None for future in futures)
    again = Store(url, lambda _: None)
    assert again.read_now(queries.count_jobs, queries.JobQuery("here")) == 50
    again.close()


def test_rows_that_go_to_the_driver_as_they_are_hold_only_what_every_driver_takes() -> None:
    plain = (sa.Text, sa.String, sa.Integer, sa.BigInteger, sa.Double, sa.Boolean)
    for table in (
        tables.jobs,
        tables.workloads,
        tables.job_tags,
        tables.events,
        tables.usage,
        tables.job_counts,
    ):
        for column in table.columns:
            assert isinstance(column.type, plain), f"{table.name}.{column.name}"
