"""``ketline top``: a live view of QPUs, lanes, sessions with their timers, and queues with reasons."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from ketline.cli.options import DEFAULT_DATA, DataOption, JsonOption, examples
from ketline.cli.output import print_json


def top(
    data: DataOption = DEFAULT_DATA,
    every: Annotated[
        float, typer.Option(min=0.2, max=3_600, metavar="SECONDS", help="How often to ask the server.")
    ] = 1.0,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many queued jobs of a QPU to show.")] = 50,
    once: Annotated[bool, typer.Option("--once", help="Print the present state and end.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Watch the centre: lanes, open sessions and their timers counting down, queues and why jobs wait.

    Ends with q or Ctrl-C. What doesn't fit is counted; a larger window shows more. While the server is away,
    the view says so and goes on when it is back. With --once, or where the output isn't a terminal that can
    be drawn on, it prints one view.
    """
    from rich.console import Console

    from ketline.cli.top.asking import Centre
    from ketline.cli.top.view import lines

    centre = Centre(data, limit)
    qpus = centre.ask()
    if as_json:
        print_json({"qpus": qpus})
        return
    console = Console(highlight=False, markup=False)
    if once or not console.is_terminal or console.is_dumb_terminal:
        for line in lines(qpus, datetime.now(UTC)):
            console.print(line, soft_wrap=True)
        return

    from ketline.cli.top.screen import watch

    watch(console, centre, every)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        epilog=examples("ketline top --data ./centre", "ketline top --data ./centre --once --limit 50")
    )(top)
