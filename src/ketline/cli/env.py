"""``ketline env``: the lines that point a client of this shell at the server."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from ketline.cli.options import DEFAULT_DATA, ConfigOption, DataOption, JsonOption, examples
from ketline.cli.output import print_json


def env(
    data: DataOption = DEFAULT_DATA,
    instance: Annotated[
        str, typer.Option(metavar="NAME", help="The instance that the client works in.")
    ] = "default",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the environment that points qiskit-ibm-runtime at the server.

    It works before the server's first start, too: then the folder is made now. The key is the
    administrator's first one; make others with `ketline keys create`.
    """
    from ketline.cli.centre import Centre

    with Centre(data, config, make=True) as centre:
        variables = centre.environment(instance)
    if as_json:
        print_json(variables)
        return
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        epilog=examples(
            'eval "$(ketline env --data ./centre)"',
            "ketline env --data ./centre --instance open",
        )
    )(env)
