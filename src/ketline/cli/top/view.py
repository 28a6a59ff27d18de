"""What ``ketline top`` shows: one line each for QPUs, sessions and jobs, as many as there is room for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.text import Text

Row = dict[str, Any]

_WHY_LEAST = 24
"""Cells that a reason needs to be worth reading; other columns give way to it."""
_HEADING_FROM = 4
"""Lines that a view must have more than to spare one for headings."""


@dataclass(frozen=True, slots=True)
class _Column:
    heading: str
    longest: int
    gives_way: int
    """The higher, the earlier it is left out of a narrow view; 0: never."""
    right: bool = False


_COLUMNS = (
    _Column("job", 22, 0),
    _Column("instance", 16, 2),
    _Column("program", 14, 3),
    _Column("stage", 16, 0),
    _Column("for", 9, 1, right=True),
    _Column("estimate", 9, 4, right=True),
)


def lines(
    qpus: Sequence[Row], now: datetime, *, width: int | None = None, height: int | None = None
) -> list[Text]:
    """The whole view, at most ``height`` lines of at most ``width`` cells; None: as much as there is."""
    jobs = [job for qpu in qpus for job in (*qpu["running"], *qpu["queued"])]
    columns = _columns([_cells(job, now) for job in jobs], width)
    shown = [_title(qpus, now)]
    if jobs and (height is None or height > _HEADING_FROM):
        shown.append(_heading(columns))
    room = None if height is None else height - len(shown)
    kept = qpus
    if room is not None and len(qpus) > room:
        kept = qpus[: max(0, room - 1)]
    rooms = _share([_wanted(qpu) for qpu in kept], None if room is None else room - len(kept))
    for qpu, own in zip(kept, rooms, strict=True):
        shown.append(_head(qpu))
        shown += _block(qpu, now, columns, own)
    if len(kept) < len(qpus):
        shown.append(Text(f"... and {_many(len(qpus) - len(kept), 'more QPU')}", style="dim"))
    for line in shown:
        if width is not None:
            line.truncate(width, overflow="ellipsis")
    return shown if height is None else shown[:height]


def _share(wanted: list[int], room: int | None) -> list[int]:
    """How many lines each QPU gets: all that it wants, or else an equal part of what there is."""
    if room is None:
        return wanted
    given = [0] * len(wanted)
    left = max(0, room)
    while left and (hungry := [at for at, want in enumerate(wanted) if given[at] < want]):
        part = max(1, left // len(hungry))
        for at in hungry[:left]:
            more = min(part, wanted[at] - given[at], left)
            given[at] += more
            left -= more
    return given


def _wanted(qpu: Row) -> int:
    hidden: bool = qpu["queue_length"] > len(qpu["queued"])
    return hidden + len(qpu["sessions"]) + len(qpu["running"]) + len(qpu["queued"])


def _block(qpu: Row, now: datetime, columns: list[tuple[int, int]], room: int) -> list[Text]:
    """Sessions that hold the QPU and what runs come first; other sessions take half of the rest at most."""
    first = [_session(w, now) for w in qpu["sessions"] if w["holds_qpu"]]
    running = sorted(qpu["running"], key=lambda job: job["stage"] != "on_qpu")
    first += [_job(job, now, columns) for job in running]
    others = [_session(w, now) for w in qpu["sessions"] if not w["holds_qpu"]]
    queued = [_job(job, now, columns) for job in qpu["queued"]]
    beyond = qpu["queue_length"] - len(queued)
    if beyond <= 0 and len(first) + len(others) + len(queued) <= room:
        return first + others + queued
    if room <= 0:
        return []
    first_shown = first[: room - 1]
    left = room - 1 - len(first_shown)
    others_shown = others[: max(left // 2, left - len(queued))]
    queued_shown = queued[: left - len(others_shown)]
    hidden = [
        _many(count, what)
        for count, what in (
            (len(first) - len(first_shown), "running"),
            (len(others) - len(others_shown), "more session"),
            (len(queued) - len(queued_shown) + max(0, beyond), "more queued job"),
        )
        if count
    ]
    return [*first_shown, *others_shown, *queued_shown, Text(f"  ... and {', '.join(hidden)}", style="dim")]


def _title(qpus: Sequence[Row], now: datetime) -> Text:
    running, queued = sum(len(q["running"]) for q in qpus), sum(q["queue_length"] for q in qpus)
    facts = f"  {_many(len(qpus), 'QPU')}, {running} running, {queued} queued"
    return Text.assemble((f"Ketline {now.astimezone():%Y-%m-%d %H:%M:%S}", "bold"), facts)


def _head(qpu: Row) -> Text:
    state = "calibrating" if qpu["calibrating"] else qpu["mode"]
    reason = f" ({qpu['mode_reason']})" if qpu["mode_reason"] else ""
    return Text.assemble(
        (f"{qpu['backend']}  {state}{reason}", "bold cyan" if qpu["mode"] == "online" else "bold red"),
        f"  lanes {len(qpu['running'])}/{qpu['lanes']}  queued {qpu['queue_length']}",
    )


def _session(workload: Row, now: datetime) -> Text:
    timers = [
        f"{name} {_countdown(workload[key], now)}"
        for key, name in (("idle_at", "idle in"), ("unused_at", "unused in"), ("expires_at", "TTL"))
        if workload[key] is not None
    ]
    facts = [workload["state"], *timers, _many(workload["jobs"], "job"), f"of {workload['instance']}"]
    if not workload["accepting_jobs"]:
        facts.insert(1, "takes no more jobs")
    text = f"  {workload['mode']} {workload['id']}  {', '.join(facts)}"
    return Text(text, style="green" if workload["holds_qpu"] else "")


def _cells(job: Row, now: datetime) -> tuple[str, ...]:
    estimate = job["estimated_usage_seconds"]
    age = max(0.0, (now - datetime.fromisoformat(job["since"])).total_seconds())
    return (
        job["id"] or "another instance's",
        job["instance"] or "",
        job["program"] or "",
        "queued" if job["stage"] == "none" else job["stage"].replace("_", " "),
        clock(age),
        "" if estimate is None else f"{estimate:.3g} s",
        job["reason"],
    )


def _columns(rows: list[tuple[str, ...]], width: int | None) -> list[tuple[int, int]]:
    """The columns to show and how wide each is; what gives way does so until a reason can be read."""
    widths = [
        (at, min(column.longest, max([len(column.heading), *(len(row[at]) for row in rows)])))
        for at, column in enumerate(_COLUMNS)
        if any(row[at] for row in rows)
    ]
    while width is not None and width - sum(cells + 2 for _, cells in widths) < _WHY_LEAST:
        droppable = [at for at, _ in widths if _COLUMNS[at].gives_way]
        if not droppable:
            break
        worst = max(droppable, key=lambda at: _COLUMNS[at].gives_way)
        widths = [(at, cells) for at, cells in widths if at != worst]
    return widths


def _heading(columns: list[tuple[int, int]]) -> Text:
    named = tuple(column.heading for column in _COLUMNS)
    return _line((*named, "why"), columns, "bold")


def _job(job: Row, now: datetime, columns: list[tuple[int, int]]) -> Text:
    style = {"on_qpu": "green", "none": "dim"}.get(job["stage"], "")
    return _line(_cells(job, now), columns, style)


def _line(cells: Sequence[str], columns: list[tuple[int, int]], style: str) -> Text:
    text = Text("  ", style=style)
    for at, width in columns:
        cell = Text(cells[at])
        cell.truncate(width, overflow="ellipsis")
        cell.align("right" if _COLUMNS[at].right else "left", width)
        text.append_text(cell).append("  ")
    return text.append(cells[-1])


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 or what == "running" else f"{count} {what}s"


def _countdown(at: str, now: datetime) -> str:
    return clock(max(0.0, (datetime.fromisoformat(at) - now).total_seconds()))


def clock(seconds: float) -> str:
    """A duration as minutes and seconds, or hours, minutes and seconds."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
