"""What happened, as the server tells it: its own times and bills, not the client's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ketline.cli.demo.modes import Ran
from ketline.cli.remote import Remote
from ketline.planning.timeline import JobSpan, Panel, Window

EXPLANATIONS = {
    "Job mode": "Each job queues by itself, and is billed for the seconds in which it holds the QPU.",
    "Batch": "Five jobs are prepared side by side and follow each other on the QPU. Idle time costs nothing.",
    "Session": "Two optimisers share one window in which nobody else runs, so each answer comes at once. "
    "The whole window is billed.",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; all times in seconds."""

    mode: str
    jobs: int
    wall_seconds: float
    queued_seconds: float
    qpu_seconds: float
    billed_seconds: float


@dataclass(frozen=True, slots=True)
class Witness:
    """The server, asked inside an instance."""

    server: Remote
    crns: dict[str, str]

    def ask(self, path: str, instance: str) -> dict[str, Any]:
        """What the server answers."""
        return self.server.ask("GET", path, crn=self.crns[instance])


def panel_of(ran: Ran, witness: Witness, lanes: int) -> tuple[Panel, list[Row]]:
    """The picture's panel and the table's rows of one mode: its own, and that of other users."""
    details = {
        job_id: witness.ask(f"/ketline/v1/jobs/{job_id}", "open" if name in ran.others else "default")
        for job_id, name in ran.jobs.items()
    }
    spans = tuple(_span(job_id, ran.jobs[job_id], told) for job_id, told in details.items())
    own = [span for span in spans if span.workload not in ran.others]
    windows: tuple[Window, ...] = ()
    billed = None
    if ran.workload_id is not None:
        told = witness.ask(f"/api/v1/sessions/{ran.workload_id}", "default")
        windows = _windows(told, frozenset(span.workload for span in own), exclusive=ran.title == "Session")
        billed = told["elapsed_time"]
    row = _row(ran.title, own, details, billed, [window.ended_at for window in windows])
    summary = (
        f"{row.jobs} jobs   wall {row.wall_seconds:.2f} s   on the QPU {row.qpu_seconds:.2f} s   "
        f"billed {row.billed_seconds:.2f} s"
    )
    panel = Panel(ran.title, EXPLANATIONS[ran.title], spans, windows, lanes, ran.others, summary)
    others = [span for span in spans if span.workload in ran.others]
    return panel, [row, *([_row("Another user meanwhile", others, details, None, [])] if others else [])]


def _row(
    mode: str,
    spans: list[JobSpan],
    details: dict[str, dict[str, Any]],
    billed: float | None,
    ends: list[float],
) -> Row:
    """Sums over jobs; ``billed`` is given where the jobs aren't billed one by one."""
    mine = [details[span.job_id] for span in spans]
    alone: float = sum(told["usage"]["quantum_seconds"] for told in mine)
    return Row(
        mode=mode,
        jobs=len(spans),
        wall_seconds=max([span.finished_at or 0.0 for span in spans] + ends)
        - min(span.created_at for span in spans),
        queued_seconds=sum((span.running_at or 0.0) - span.created_at for span in spans),
        qpu_seconds=sum(told["qpu_seconds"] for told in mine),
        billed_seconds=alone if billed is None else billed,
    )


def _span(job_id: str, name: str, told: dict[str, Any]) -> JobSpan:
    locked, released = _seconds(told["locked"]), _seconds(told["released"])
    return JobSpan(
        job_id=job_id,
        workload=name,
        created_at=_seconds(told["created"]) or 0.0,
        running_at=_seconds(told["running"]),
        finished_at=_seconds(told["finished"]),
        ready_at=_seconds(told["ready"]),
        locks=() if locked is None or released is None else ((locked, released),),
    )


def _windows(told: dict[str, Any], members: frozenset[str], *, exclusive: bool) -> tuple[Window, ...]:
    """The spans in which a session or batch was active: from each activation to what followed."""
    steps = [(step["status"], _seconds(step["timestamp"]) or 0.0) for step in told["timestamps"]]
    windows = []
    for (state, start), (_, end) in zip(steps, [*steps[1:], ("", steps[-1][1])], strict=True):
        if state == "active":
            label = f"session: {end - start:.2f} s, billed as a whole" if exclusive else "batch active"
            windows.append(Window(members, start, end, exclusive, label))
    return tuple(windows)


def _seconds(moment: str | None) -> float | None:
    return None if moment is None else datetime.fromisoformat(moment).timestamp()
