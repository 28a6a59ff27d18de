"""``ketline qpus``: the machines of the centre."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ketline.cli.options import DEFAULT_DATA, ConfigOption, DataOption, JsonOption, examples
from ketline.cli.output import show

app = typer.Typer(name="qpus", help="QPUs: list, pause, resume, retire and calibrate them.")

QpuArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the QPU.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; shown to everyone who waits.")]

COLUMNS = {
    "name": "name",
    "driver": "driver",
    "device": "device",
    "mode": "mode",
    "mode_reason": "because",
    "lanes": "lanes",
    "running": "running",
    "queued": "queued",
    "simulator": "simulator",
    "pace": "pace",
}


@app.command("list", epilog=examples("ketline qpus list --data ./centre", "ketline qpus list --json"))
def list_qpus(
    data: DataOption = DEFAULT_DATA, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """List the QPUs with their mode and their unfinished jobs."""
    from ketline.cli.centre import Centre

    with Centre(data, config) as centre:
        rows = centre.qpus()
    show(rows, COLUMNS, as_json=as_json)


@app.command(epilog=examples('ketline qpus pause ket_fez --data ./centre --reason "helium refill"'))
def pause(name: QpuArgument, reason: ReasonOption = "", data: DataOption = DEFAULT_DATA) -> None:
    """Start no more jobs on a QPU; what runs finishes, and submissions wait. The server must be running."""
    _set_mode(data, name, "paused", reason)


@app.command(epilog=examples("ketline qpus resume ket_fez --data ./centre"))
def resume(name: QpuArgument, data: DataOption = DEFAULT_DATA) -> None:
    """Let a QPU go on. The server must be running."""
    _set_mode(data, name, "online", "")


@app.command(epilog=examples("ketline qpus retire ket_manila --data ./centre"))
def retire(name: QpuArgument, reason: ReasonOption = "", data: DataOption = DEFAULT_DATA) -> None:
    """Take no more submissions; what is queued still runs. The server must be running."""
    _set_mode(data, name, "retired", reason)


@app.command(epilog=examples("ketline qpus calibrate ket_fez --data ./centre"))
def calibrate(name: QpuArgument, data: DataOption = DEFAULT_DATA) -> None:
    """Calibrate a QPU as soon as no job and no active session is in the way. The server must be running."""
    from ketline.cli.remote import Remote, quoted

    Remote.of(data).ask("POST", f"/ketline/v1/qpus/{quoted(name)}/calibrate")
    print(f"{name} will be calibrated.")


def _set_mode(data: Path, name: str, mode: str, reason: str) -> None:
    from ketline.cli.remote import Remote, quoted

    Remote.of(data).ask("PUT", f"/ketline/v1/qpus/{quoted(name)}/mode", body={"mode": mode, "reason": reason})
    print(f"{name} is {mode}.")
