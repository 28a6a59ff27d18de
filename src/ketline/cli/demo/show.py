"""The demo from beginning to end: progress while it runs, then a table and a picture."""

from __future__ import annotations

import dataclasses
import logging
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from ketline.cli.demo.evidence import Row, Witness, panel_of
from ketline.cli.demo.modes import Ran, batch_mode, job_mode, session_mode
from ketline.cli.demo.server import Server, serving
from ketline.cli.output import print_json
from ketline.cli.remote import Remote

if TYPE_CHECKING:
    from qiskit_ibm_runtime import QiskitRuntimeService

BACKEND = "ket_fez"
TITLE = "Three ways to share a quantum computer"


def run(output: Path, *, as_json: bool) -> None:
    """Run everything; the picture goes to ``output``."""
    from ketline.planning.timeline_picture import draw, save

    # The client warns that it takes the account that it is given; here that is the point.
    logging.getLogger("qiskit_ibm_runtime").setLevel(logging.ERROR)
    # Being told to stop must stop the server, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    console = Console(stderr=as_json, highlight=False)
    with _Progress(console) as progress:
        progress.step("starting a server")
        with serving() as server:
            progress.step("connecting the client")
            witness, services = _connect(server)
            backend = services["default"].backend(BACKEND)
            rans = [
                job_mode(backend, progress.tell),
                batch_mode(backend, progress.tell),
                session_mode(backend, services["open"], progress.tell),
            ]
            progress.step("asking the server what happened")
            lanes = _lanes(server)
            told = [panel_of(ran, witness, lanes) for ran in rans]
            progress.step("stopping the server")
        progress.step("drawing")
        svg, png = save(draw([panel for panel, _ in told], TITLE), output / "demo-timeline")
    rows = [row for _, rows_of_mode in told for row in rows_of_mode]
    if as_json:
        modes = [dataclasses.asdict(row) for row in rows]
        findings = [finding for ran in rans for finding in ran.findings]
        print_json({"modes": modes, "findings": findings, "svg": str(svg), "png": str(png)})
        return
    _print(console, rows, rans, (svg, png), time.monotonic() - started)


def _connect(server: Server) -> tuple[Witness, dict[str, QiskitRuntimeService]]:
    """Two users: the demo's own in the instance ``default``, and a stranger in the instance ``open``."""
    from ketline.client import connect

    own = server.one("env")
    remote = Remote.of(server.data)
    stranger = server.one("keys", "create", "--user", "stranger", "--name", "demo")
    services = {
        "default": connect(server.url, own["QISKIT_IBM_TOKEN"], instance="default"),
        "open": connect(server.url, stranger["key"], instance="open"),
    }
    return Witness(remote, remote.instances()), services


def _lanes(server: Server) -> int:
    return next(int(row["lanes"]) for row in server.many("qpus", "list") if row["name"] == BACKEND)


class _Progress:
    """A line for each mode with its jobs counted; in a pipe, one line when something is done."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<32}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("jobs"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def step(self, text: str) -> None:
        """Something without jobs begins."""
        self._console.print(f"[dim]… {text}[/dim]")

    def tell(self, mode: str, done: int, total: int) -> None:
        """So many jobs of a mode have ended."""
        if mode not in self._tasks:
            self._tasks[mode] = self._bars.add_task(mode, total=total)
        self._bars.update(self._bars.task_ids[self._tasks[mode]], completed=done)
        if not self._console.is_terminal and done == total:
            self._console.print(f"{mode}: {done} jobs done")


def _print(console: Console, rows: list[Row], rans: list[Ran], files: tuple[Path, Path], took: float) -> None:
    table = Table(
        title="What the server saw", title_justify="left", box=None, header_style="bold", pad_edge=False
    )
    table.add_column("mode")
    for heading in ("jobs", "wall time", "time queued", "on the QPU", "usage billed"):
        table.add_column(heading, justify="right")
    for row in rows:
        times = (row.wall_seconds, row.queued_seconds, row.qpu_seconds, row.billed_seconds)
        table.add_row(row.mode, str(row.jobs), *(f"{seconds:.2f} s" for seconds in times))
    console.print()
    console.print(table)
    console.print()
    for ran in rans:
        for finding in ran.findings:
            console.print(f"[dim]{ran.title}:[/dim] {finding}", highlight=False)
    console.print()
    console.print(f"Picture: {files[1]} and {files[0].name}   ({took:.0f} s in all)")
