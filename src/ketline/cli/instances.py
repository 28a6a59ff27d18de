"""``ketline instances``: on which plans, and what they have used."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ketline.cli.options import DEFAULT_DATA, ConfigOption, DataOption, JsonOption, examples
from ketline.cli.output import Refusal, print_json, show

app = typer.Typer(name="instances", help="Instances: make and list them.")

COLUMNS = {
    "name": "name",
    "plan": "plan",
    "consumed_seconds": "used (s)",
    "limit_seconds": "limit (s)",
    "allocation_seconds": "allocation (s)",
    "crn": "CRN",
}


@app.command("list", epilog=examples("ketline instances list --data ./centre"))
def list_instances(
    data: DataOption = DEFAULT_DATA, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """List the instances with their usage."""
    from ketline.cli.centre import Centre

    with Centre(data, config) as centre:
        rows = centre.instances()
    show(rows, COLUMNS, as_json=as_json, empty="There are no instances.")


@app.command(
    epilog=examples(
        "ketline instances create --data ./centre --name guests --plan open",
        "ketline instances create --data ./centre --name lab --plan premium --set allocation_seconds=36000",
    )
)
def create(
    name: Annotated[str, typer.Option(help="Name of the instance.")],
    plan: Annotated[str, typer.Option(help="Its plan.")] = "premium",
    account: Annotated[str, typer.Option(help="Account that it belongs to.")] = "default",
    region: Annotated[str, typer.Option(help="Region in its CRN: us-east or eu-de.")] = "us-east",
    tag: Annotated[list[str] | None, typer.Option(help="A tag; again for more.")] = None,
    figure: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIGURE=VALUE", help="Override a figure of the plan; again for more."),
    ] = None,
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an instance. A running server knows it within seconds."""
    from ketline.cli.centre import Centre

    wanted = _figures(figure or [])
    with Centre(data, config) as centre:
        from ketline.config import ConfigError, instance_settings

        try:
            settings = instance_settings(
                {
                    "name": name,
                    "plan": plan,
                    "account": account,
                    "region": region,
                    "tags": tag or [],
                    **wanted,
                },
                centre.settings,
            )
        except ConfigError as error:
            raise Refusal(str(error)) from error
        made = centre.create_instance(settings)
    if as_json:
        print_json(made)
    else:
        print(f"{made['name']}: {made['crn']}")


def _figures(given: list[str]) -> dict[str, Any]:
    figures = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{text!r} isn't FIGURE=VALUE", param_hint="--set")
        figures[name.strip()] = value.strip()
    return figures
