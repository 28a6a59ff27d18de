"""What may not be in the tables is found, whatever it is; what may be is left alone."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from store_rows import new_job, usage_row, workload_row

from ketline.store import tables
from ketline.store.changes import Changes
from ketline.store.checks import findings
from ketline.store.store import Store


def written(store: Store, *changes: Changes) -> None:
    for change in changes:
        store.writer.write(change).result(10)


def found(store: Store) -> list[tuple[str, str, str]]:
    return [(f.about, f.subject, f.what) for f in store.read_now(lambda c: list(findings(c)))]


@pytest.fixture
def sound(store: Store) -> Store:
    """Two finished jobs, one of them in a batch, one that waits, and a closed session."""
    ended: dict[str, Any] = {"status": "completed", "finished_at": 20.0, "billed_seconds": 5.0}
    instance = {
        "instance_id": "here", "crn": "crn", "name": "here", "plan": "open", "account_id": "a",
        "region": "r", "tags": "[]", "overrides": "{}", "archived": False, "created_at": 0.0,
    }  # fmt: skip
    rest = Changes()
    rest.call(sa.insert(tables.instances).values(instance))
    rest.add_workload(workload_row(1, workload_id="batch", usage_seconds=5.0, closed_at=30.0))
    rest.add_workload(workload_row(2, workload_id="session", usage_seconds=9.0, closed_at=30.0))
    rest.usage += [
        usage_row(15.0, 5.0, "job000001"),
        usage_row(20.0, 5.0, "job000002") | {"workload_id": "batch"},
        usage_row(24.0, 4.0) | {"workload_id": "session"},
        usage_row(29.0, 5.0) | {"workload_id": "session"},
    ]
    written(
        store, new_job(1, **ended), new_job(2, **ended, workload_id="batch"), new_job(3, tags='["a"]'), rest
    )
    return store


def test_a_sound_database_has_no_findings(sound: Store) -> None:
    assert found(sound) == []


@pytest.mark.parametrize(
    ("broken", "about", "subject", "what"),
    [
        ("UPDATE jobs SET finished_at = NULL WHERE job_id = 'job000001'", "jobs", "job000001", "no time"),
        ("UPDATE jobs SET status = 'queued' WHERE job_id = 'job000001'", "jobs", "job000001", "is queued"),
        ("UPDATE jobs SET instance_id = 'gone' WHERE job_id = 'job000003'", "jobs", "job000003", "gone"),
        ("UPDATE jobs SET workload_id = 'gone' WHERE job_id = 'job000003'", "jobs", "job000003", "gone"),
        ("UPDATE jobs SET workload_id = 'batch' WHERE job_id = 'job000003'", "jobs", "job000003", "closed"),
        ("INSERT INTO job_tags VALUES ('here', 'b', 'job000009')", "tags", "job000009", "'b'"),
        ("UPDATE job_counts SET jobs = 7 WHERE status = 'queued'", "counts", "here", "1 jobs that are"),
        ("DELETE FROM jobs WHERE job_id = 'job000003'", "counts", "here", "0 jobs that are queued; 1"),
        ("UPDATE usage SET seconds = -5.0 WHERE job_id = 'job000001'", "ledger", "line 1", "-5.0"),
        ("UPDATE usage SET seconds = 50.0 WHERE job_id = 'job000001'", "ledger", "job000001", "50.0"),
        ("DELETE FROM usage WHERE job_id = 'job000002'", "ledger", "job000002", "add up to 0"),
        ("DELETE FROM usage WHERE number = 4", "ledger", "session", "9.0 s; its lines add up to 4"),
        ("UPDATE usage SET started_at = 23.0 WHERE number = 4", "ledger", "session", "lines 3 and 4"),
        (
            "UPDATE usage SET job_id = 'job000001', started_at = 14.0 WHERE job_id = 'job000002'",
            "ledger", "job000001", "lines 1 and 2",
        ),
    ],
)  # fmt: skip
def test_what_may_not_be_is_found(sound: Store, broken: str, about: str, subject: str, what: str) -> None:
    change = Changes()
    change.call(sa.text(broken))
    written(sound, change)
    told = found(sound)
    assert any(f[:2] == (about, subject) and what in f[2] for f in told), told
