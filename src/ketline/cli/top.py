"""``ketline top``: a live view of QPUs, lanes, sessions with their timers, and queues with reasons."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ketline.cli.options import DEFAULT_DATA, DataOption, JsonOption, examples
from ketline.cli.output import print_json

if TYPE_CHECKING:
    from rich.console import Group

    from ketline.cli.remote import Remote

FRAMES_A_SECOND = 4


def top(
    data: DataOption = DEFAULT_DATA,
    every: Annotated[
        float, typer.Option(min=0.2, max=3_600, metavar="SECONDS", help="How often to ask the server.")
    ] = 1.0,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many queued jobs of a QPU to show.")] = 10,
    once: Annotated[bool, typer.Option("--once", help="Print the present state and end.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Watch the centre: lanes, open sessions and their timers counting down, queues and why jobs wait.

    Ends with Ctrl-C. With --once, or where the output isn't a terminal, it prints one view.
    """
    from rich.console import Console

    from ketline.cli.remote import Remote

    remote = Remote.of(data)
    crns = list(remote.instances().values())
    if as_json:
        print_json({"qpus": _queues(remote, crns, limit)})
        return
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 400  # a pipe has no width
    if once or not console.is_terminal:
        console.print(_view(_queues(remote, crns, limit), datetime.now(UTC)))
        return
    from rich.live import Live

    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            qpus, asked_at = _queues(remote, crns, limit), time.monotonic()
            while time.monotonic() - asked_at < every:
                live.update(_view(qpus, datetime.now(UTC)), refresh=True)
                time.sleep(min(every, 1 / FRAMES_A_SECOND))


def _queues(remote: Remote, crns: list[str], limit: int) -> list[dict[str, Any]]:
    """All QPUs: instances may be confined to some of them."""
    found: dict[str, dict[str, Any]] = {}
    for crn in crns:
        for qpu in remote.ask("GET", "/ketline/v1/queue", query={"limit": limit}, crn=crn)["qpus"]:
            found.setdefault(qpu["backend"], qpu)
    return list(found.values())


def _view(qpus: list[dict[str, Any]], now: datetime) -> Group:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[Text | Table] = [Text(f"Ketline {now.astimezone():%Y-%m-%d %H:%M:%S}", style="bold")]
    for qpu in qpus:
        state = "calibrating" if qpu["calibrating"] else qpu["mode"]
        reason = f" ({qpu['mode_reason']})" if qpu["mode_reason"] else ""
        head = (
            f"\n{qpu['backend']}  {state}{reason}  lanes {len(qpu['running'])}/{qpu['lanes']}  "
            f"queued {qpu['queue_length']}"
        )
        parts.append(Text(head, style="bold cyan" if qpu["mode"] == "online" else "bold red"))
        parts += [
            Text(_session_line(workload, now), style="green" if workload["holds_qpu"] else "")
            for workload in qpu["sessions"]
        ]
        table = Table(box=None, header_style="bold", pad_edge=False)
        for heading in ("job", "instance", "program", "stage", "for", "estimate (s)", "why"):
            table.add_column(heading, overflow="fold", no_wrap=heading == "job")
        for job in (*qpu["running"], *qpu["queued"]):
            table.add_row(*_job_cells(job, now))
        hidden = qpu["queue_length"] - len(qpu["queued"])
        if qpu["running"] or qpu["queued"]:
            parts.append(table)
        if hidden > 0:
            parts.append(Text(f"... and {hidden} more in the queue"))
    return Group(*parts)


def _session_line(workload: dict[str, Any], now: datetime) -> str:
    timers = [
        f"{name} {_countdown(workload[key], now)}"
        for key, name in (("idle_at", "idle until"), ("expires_at", "TTL"), ("unused_at", "unused until"))
        if workload[key] is not None
    ]
    taking = "" if workload["accepting_jobs"] else ", takes no more jobs"
    return (
        f"  {workload['mode']} {workload['id']} of {workload['instance']}: {workload['state']}{taking}, "
        f"{workload['jobs']} jobs" + ("; " + ", ".join(timers) if timers else "")
    )


def _job_cells(job: dict[str, Any], now: datetime) -> list[str]:
    estimate = job["estimated_usage_seconds"]
    stage = "queued" if job["stage"] == "none" else job["stage"].replace("_", " ")
    age = max(0.0, (now - datetime.fromisoformat(job["since"])).total_seconds())
    return [
        job["id"] or "(another instance's)",
        job["instance"] or "",
        job["program"] or "",
        stage,
        _clock(age),
        "" if estimate is None else f"{estimate:.3g}",
        job["reason"],
    ]


def _countdown(at: str, now: datetime) -> str:
    return _clock(max(0.0, (datetime.fromisoformat(at) - now).total_seconds()))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        epilog=examples("ketline top --data ./centre", "ketline top --data ./centre --once --limit 50")
    )(top)
