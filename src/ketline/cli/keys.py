"""``ketline keys``: who may use the server."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ketline.cli.enrol import import_keys
from ketline.cli.options import DEFAULT_DATA, ConfigOption, DataOption, JsonOption, examples
from ketline.cli.output import done, print_json, show

app = typer.Typer(name="keys", help="API keys: make, list and revoke them.")


class RoleName(StrEnum):
    """What the owner of a key may do."""

    ADMINISTRATOR = "administrator"
    MANAGER = "manager"
    USER = "user"


COLUMNS = {
    "key_id": "id",
    "user": "user",
    "name": "name",
    "role": "role",
    "opens": "instances",
    "created_at": "created",
    "last_used_at": "last used",
    "revoked_at": "revoked",
}


@app.command(
    epilog=examples(
        "ketline keys create --data ./centre --user ada --name laptop",
        "ketline keys create --data ./centre --user lin --instance open --json",
    )
)
def create(
    user: Annotated[str, typer.Option(help="Whose key it is; made if there is no such user.")],
    name: Annotated[str, typer.Option(help="What the key is for.")] = "",
    role: Annotated[RoleName, typer.Option(help="What a new user may do.")] = RoleName.USER,
    instance: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="An instance that the key opens; again for more. Unset: all."),
    ] = None,
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key. It is shown once: the server keeps only a hash of it."""
    from ketline.cli.centre import Centre

    with Centre(data, config) as centre:
        made = centre.create_key(user, name, role.value, instance or [])
    if as_json:
        print_json(made)
    else:
        print(made["key"])
        typer.echo(f"Key {made['key_id']} of {made['user']}. It isn't shown again.", err=True)


@app.command("list", epilog=examples("ketline keys list --data ./centre"))
def list_keys(
    data: DataOption = DEFAULT_DATA, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """List the keys, revoked ones too."""
    from ketline.cli.centre import Centre

    with Centre(data, config) as centre:
        rows = centre.keys()
    show(rows, COLUMNS, as_json=as_json, empty="There are no keys.")


@app.command(epilog=examples("ketline keys revoke --data ./centre 3k5xw2…"))
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, from `ketline keys list`.")],
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke a key for good. A running server refuses it within seconds."""
    from ketline.cli.centre import Centre

    with Centre(data, config) as centre:
        row = centre.revoke_key(key_id)
    done(f"Key {row['key_id']} of {row['user']} is revoked.", row, as_json=as_json)


app.command(
    "import",
    epilog=examples(
        "ketline keys import class.csv --data ./centre --plan open --account course --output keys.csv",
        "ketline keys import group.csv --data ./centre --instance lab",
    ),
)(import_keys)
