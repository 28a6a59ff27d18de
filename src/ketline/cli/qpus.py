"""``ketline qpus``: the machines of the centre."""

from __future__ import annotations

import typer

from ketline.cli.options import DEFAULT_DATA, ConfigOption, DataOption, JsonOption, examples
from ketline.cli.output import show

app = typer.Typer(name="qpus", help="QPUs: list them.")

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
