"""``ketline instances``: on which plans, and what they have used."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from ketline.cli.options import DEFAULT_DATA, ConfigOption, DataOption, JsonOption, examples
from ketline.cli.output import Refusal, cell, done, show

app = typer.Typer(name="instances", help="Instances: make, list and change them.")

FigureOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIGURE=VALUE",
        help="Override a figure of the plan (`none` lifts a limit); again for more.",
    ),
]
COLUMNS = {
    "name": "name",
    "plan": "plan",
    "consumed_seconds": "used (s)",
    "cost": "cost",
    "currency": "currency",
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
    figure: FigureOption = None,
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
    done(f"{made['name']}: {made['crn']}", made, as_json=as_json)


@app.command(
    "set",
    epilog=examples(
        "ketline instances set lab --data ./centre --set limit_seconds=7200",
        "ketline instances set lab --data ./centre --set limit_seconds=none --plan flex",
        "ketline instances set guests --data ./centre --archived",
    ),
)
def set_instance(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the instance.")],
    plan: Annotated[str | None, typer.Option(help="Another plan.")] = None,
    figure: FigureOption = None,
    reset: Annotated[
        list[str] | None,
        typer.Option(metavar="FIGURE", help="Take the plan's figure again; again for more."),
    ] = None,
    archived: Annotated[
        bool | None,
        typer.Option(
            "--archived/--active", help="Archive it (its pending jobs are cancelled), or reactivate it."
        ),
    ] = None,
    data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
) -> None:
    """Change an instance: plan, figures, archived. The server must be running."""
    from ketline.cli.remote import Remote, quoted

    changes: dict[str, Any] = {key: _plain(text) for key, text in _figures(figure or []).items()}
    changes |= dict.fromkeys(reset or ())
    changes |= {key: value for key, value in (("plan", plan), ("archived", archived)) if value is not None}
    if not changes:
        raise typer.BadParameter("say what to change", param_hint="--set, --reset, --plan, --archived")
    told = Remote.of(data).ask("PATCH", f"/ketline/v1/instances/{quoted(name)}", body=changes)
    state = "archived" if told["archived"] else f"on the plan {told['plan']}"
    limit = "no limit" if told["limit_seconds"] is None else f"limit {cell(told['limit_seconds'])} s"
    done(f"{told['name']} is {state}; {limit}.", told, as_json=as_json)


def _plain(text: str) -> Any:
    """A figure as JSON has it: a number or a truth value, else the text itself."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float | bool) else text


def _figures(given: list[str]) -> dict[str, Any]:
    figures = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{text!r} isn't FIGURE=VALUE", param_hint="--set")
        figures[name.strip()] = value.strip()
    return figures
