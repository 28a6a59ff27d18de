"""``ketline demo``: the three modes with the real client, and a picture of what happened."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ketline.cli.options import JsonOption, examples


def demo(
    output: Annotated[
        Path, typer.Option("--output", metavar="DIR", file_okay=False, help="Folder for the picture.")
    ] = Path("demo-output"),
    as_json: JsonOption = False,
) -> None:
    """Show job, batch and session mode: start a server, run the real client against it, draw what happened.

    The server has a folder and a port of its own and is gone afterwards. It takes less than two minutes.
    """
    from ketline.cli.demo.show import run

    run(output, as_json=as_json)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog=examples("ketline demo", "ketline demo --output ~/ketline-picture"))(demo)
