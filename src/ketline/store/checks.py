"""Whether what is written down agrees with itself: jobs, counts, tags, sessions and the ledger.

Every check is a query for rows that may not be; what it finds is told in a sentence each. Nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from ketline.core.model import JobStatus

# Sums of usage are kept in floating point: what differs by less than 0.001 s is the same. The seconds of a
# line are measured where the QPU is, its two times where they are heard of, which is later.


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that may not be. ``about`` names the check, ``subject`` the row or file."""

    about: str
    subject: str
    what: str


@dataclass(frozen=True, slots=True)
class Check:
    """A query whose every row, a subject and then facts, is a finding; the facts are filled into ``what``."""

    about: str
    what: str
    query: str


_FINAL = ", ".join(f"'{status.value}'" for status in JobStatus if status.final)

CHECKS = (
    Check(
        "jobs",
        "is {}, but says that it finished at {}",
        f"SELECT job_id, status, coalesce(CAST(finished_at AS TEXT), 'no time') FROM jobs "  # noqa: S608
        f"WHERE (status IN ({_FINAL})) <> (finished_at IS NOT NULL)",
    ),
    Check(
        "jobs",
        "belongs to instance {}, which isn't there",
        "SELECT job_id, instance_id FROM jobs WHERE instance_id NOT IN (SELECT instance_id FROM instances)",
    ),
    Check(
        "jobs",
        "belongs to session or batch {}, which isn't there",
        "SELECT job_id, workload_id FROM jobs WHERE workload_id IS NOT NULL "
        "AND workload_id NOT IN (SELECT workload_id FROM workloads)",
    ),
    Check(
        "jobs",
        "hasn't ended, but its session or batch {} is closed",
        "SELECT j.job_id, j.workload_id FROM jobs j JOIN workloads w ON w.workload_id = j.workload_id "
        "WHERE j.finished_at IS NULL AND w.closed_at IS NOT NULL",
    ),
    Check(
        "tags",
        "carries the tag {!r}, but isn't there",
        "SELECT job_id, tag FROM job_tags WHERE job_id NOT IN (SELECT job_id FROM jobs)",
    ),
    Check(
        "counts",
        "has {} jobs that are {}; {} are counted",
        "SELECT instance_id, sum(really), status, sum(counted) FROM ("
        "SELECT instance_id, status, count(*) AS really, 0 AS counted FROM jobs GROUP BY instance_id, status "
        "UNION ALL SELECT instance_id, status, 0, jobs FROM job_counts) AS both_of_them "
        "GROUP BY instance_id, status HAVING sum(really) <> sum(counted)",
    ),
    Check(
        "ledger",
        "bills {} s for {} s",
        "SELECT 'line ' || number, seconds, ended_at - started_at FROM usage "
        "WHERE seconds < 0 OR seconds > ended_at - started_at + 5.0",
    ),
    Check(
        "ledger",
        "is billed twice for the same time, in lines {} and {}",
        "SELECT a.job_id, a.number, b.number FROM usage a JOIN usage b ON a.job_id = b.job_id "
        "AND a.number < b.number AND a.started_at < b.ended_at AND b.started_at < a.ended_at",
    ),
    Check(
        "ledger",
        "is billed twice for the same time, in lines {} and {}",
        "SELECT a.workload_id, a.number, b.number FROM usage a JOIN usage b "
        "ON a.workload_id = b.workload_id AND a.job_id IS NULL AND b.job_id IS NULL "
        "AND a.number < b.number AND a.started_at < b.ended_at AND b.started_at < a.ended_at",
    ),
    Check(
        "ledger",
        "shows a usage of {} s; its lines add up to {} s",
        "SELECT j.job_id, j.billed_seconds, coalesce(sum(u.seconds), 0.0) FROM jobs j "
        "LEFT JOIN usage u ON u.job_id = j.job_id WHERE j.finished_at IS NOT NULL "
        "GROUP BY j.job_id, j.billed_seconds "
        "HAVING abs(j.billed_seconds - coalesce(sum(u.seconds), 0.0)) > 0.001",
    ),
    Check(
        "ledger",
        "shows a usage of {} s; its lines add up to {} s",
        "SELECT w.workload_id, w.usage_seconds, coalesce(sum(u.seconds), 0.0) FROM workloads w "
        "LEFT JOIN usage u ON u.workload_id = w.workload_id WHERE w.closed_at IS NOT NULL "
        "GROUP BY w.workload_id, w.usage_seconds "
        "HAVING abs(w.usage_seconds - coalesce(sum(u.seconds), 0.0)) > 0.001",
    ),
)


def findings(connection: sa.Connection) -> Iterator[Finding]:
    """Everything in the tables that may not be, as one state of the database shows it."""
    if connection.dialect.name == "sqlite":
        for (told,) in connection.exec_driver_sql("PRAGMA integrity_check"):
            if told != "ok":
                yield Finding("database", "the file", str(told))
    for check in CHECKS:
        for subject, *facts in connection.exec_driver_sql(check.query):
            yield Finding(check.about, str(subject), check.what.format(*facts))
