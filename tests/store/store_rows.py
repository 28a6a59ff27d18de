"""Rows for tests of the store."""

from __future__ import annotations

from typing import Any

from ketline.store.changes import Changes


def job_row(number: int, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "job_id": f"job{number:06d}", "instance_id": "here", "user_id": "ada", "qpu_id": "ket_fez",
        "backend": "ket_fez", "program": "sampler", "workload_id": None, "created_at": float(number),
        "seq": number, "limit_seconds": 10.0, "private": False, "calibration_id": None,
        "log_level": "warning", "caller": "", "tags": "[]", "estimate_seconds": None,
        "status": "queued", "stage": "none", "running_at": None, "ready_at": None, "locked_at": None,
        "released_at": None, "finished_at": None, "qpu_seconds": 0.0, "billed_seconds": 0.0,
        "cancelling": False, "reason_code": None, "reason_message": None, "reason_solution": None,
        "result_bytes": None, "revision": 0,
    }  # fmt: skip
    return row | changes


def new_job(number: int, **changes: Any) -> Changes:
    """A job as it is submitted: row, count and tags."""
    row = job_row(number, **changes)
    made = Changes()
    made.add_job(row)
    outside = row["workload_id"] is None
    key = (row["instance_id"], row["user_id"], row["backend"], row["program"], outside, row["status"])
    made.counts[key] += 1
    return made


def workload_row(number: int, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "workload_id": f"work{number:06d}", "mode": "batch", "instance_id": "here", "user_id": "ada",
        "backend": "ket_fez", "created_at": float(number), "seq": number, "state": "open",
        "progress": "pending", "closed_at": None, "usage_seconds": 0.0, "facts": "{}",
    }  # fmt: skip
    return row | changes


def usage_row(at: float, seconds: float, job: str | None = None, instance: str = "here") -> dict[str, Any]:
    return {
        "instance_id": instance, "user_id": "ada", "qpu_id": "ket_fez", "workload_id": None, "job_id": job,
        "started_at": at - seconds, "ended_at": at, "seconds": seconds, "rule": "qpu time",
    }  # fmt: skip
