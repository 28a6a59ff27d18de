"""``ketline qpus``: the machines of the centre."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ketline.cli.options import DEFAULT_DATA, ConfigOption, DataOption, JsonOption, examples
from ketline.cli.output import done, show

app = typer.Typer(name="qpus", help="QPUs: list, pause, calibrate, maintain and reserve them.")

QpuArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the QPU.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; shown to everyone who waits.")]

StartOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="From this time on (ISO 8601; UTC unless it says otherwise). Unset: now."
    ),
]
EndOption = Annotated[str, typer.Option(metavar="TIME", help="Until this time.")]

WINDOW_COLUMNS = {
    "id": "id",
    "kind": "what",
    "start": "from",
    "end": "to",
    "instance": "instance",
    "reason": "because",
}
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
def pause(
    name: QpuArgument, reason: ReasonOption = "", data: DataOption = DEFAULT_DATA, as_json: JsonOption = False
) -> None:
    """Start no more jobs on a QPU; what runs finishes, and submissions wait. The server must be running."""
    _set_mode(data, name, "paused", reason, as_json=as_json)


@app.command(epilog=examples("ketline qpus resume ket_fez --data ./centre"))
def resume(name: QpuArgument, data: DataOption = DEFAULT_DATA, as_json: JsonOption = False) -> None:
    """Let a QPU go on. The server must be running."""
    _set_mode(data, name, "online", "", as_json=as_json)


@app.command(epilog=examples("ketline qpus retire ket_manila --data ./centre"))
def retire(
    name: QpuArgument, reason: ReasonOption = "", data: DataOption = DEFAULT_DATA, as_json: JsonOption = False
) -> None:
    """Take no more submissions; what is queued still runs. The server must be running."""
    _set_mode(data, name, "retired", reason, as_json=as_json)


@app.command(epilog=examples("ketline qpus calibrate ket_fez --data ./centre"))
def calibrate(name: QpuArgument, data: DataOption = DEFAULT_DATA, as_json: JsonOption = False) -> None:
    """Calibrate a QPU as soon as no job and no active session is in the way. The server must be running."""
    from ketline.cli.remote import Remote, quoted

    Remote.of(data).ask("POST", f"/ketline/v1/qpus/{quoted(name)}/calibrate")
    done(f"{name} will be calibrated.", {"name": name}, as_json=as_json)


@app.command(epilog=examples("ketline qpus windows ket_fez --data ./centre"))
def windows(name: QpuArgument, data: DataOption = DEFAULT_DATA, as_json: JsonOption = False) -> None:
    """List the maintenance and reservations of a QPU that aren't over. The server must be running."""
    from ketline.cli.remote import Remote, quoted

    rows = Remote.of(data).ask("GET", f"/ketline/v1/qpus/{quoted(name)}/windows")["windows"]
    show(rows, WINDOW_COLUMNS, as_json=as_json, empty="Nothing is announced.")


@app.command(
    epilog=examples(
        "ketline qpus maintain ket_fez --start 2027-03-01T22:00 --end 2027-03-02T02:00 --reason cooling"
    )
)
def maintain(
    name: QpuArgument,
    end: EndOption,
    start: StartOption = None,
    reason: ReasonOption = "",
    data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
) -> None:
    """Announce maintenance: no job starts that can't end before. The server must be running."""
    _announce(data, name, {"start": start, "end": end, "reason": reason}, as_json=as_json)


@app.command(
    epilog=examples("ketline qpus reserve ket_fez --instance physics --end 2027-03-01T18:00 --reason lecture")
)
def reserve(
    name: QpuArgument,
    instance: Annotated[str, typer.Option(metavar="NAME", help="The instance that gets the QPU for itself.")],
    end: EndOption,
    start: StartOption = None,
    reason: ReasonOption = "",
    data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
) -> None:
    """Reserve a QPU for an instance: nobody else's jobs start meanwhile. The server must be running."""
    wanted = {"start": start, "end": end, "instance": instance, "reason": reason}
    _announce(data, name, wanted, as_json=as_json)


@app.command(epilog=examples("ketline qpus release ket_fez 4c1b… --data ./centre"))
def release(
    name: QpuArgument,
    window_id: Annotated[str, typer.Argument(help="Its id, from `ketline qpus windows`.")],
    data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
) -> None:
    """Withdraw maintenance or a reservation, or end it now. The server must be running."""
    from ketline.cli.remote import Remote, quoted

    Remote.of(data).ask("DELETE", f"/ketline/v1/qpus/{quoted(name)}/windows/{quoted(window_id)}")
    done(f"{window_id} is withdrawn.", {"id": window_id, "name": name}, as_json=as_json)


def _announce(data: Path, name: str, wanted: dict[str, str | None], *, as_json: bool) -> None:
    from ketline.cli.remote import Remote, quoted

    body = {key: value for key, value in wanted.items() if value is not None}
    told = Remote.of(data).ask("POST", f"/ketline/v1/qpus/{quoted(name)}/windows", body=body)
    text = f"{told['id']}: {told['kind']} of {name} from {told['start']} to {told['end']}."
    done(text, told, as_json=as_json)


def _set_mode(data: Path, name: str, mode: str, reason: str, *, as_json: bool) -> None:
    from ketline.cli.remote import Remote, quoted

    Remote.of(data).ask("PUT", f"/ketline/v1/qpus/{quoted(name)}/mode", body={"mode": mode, "reason": reason})
    done(f"{name} is {mode}.", {"name": name, "mode": mode, "reason": reason}, as_json=as_json)
