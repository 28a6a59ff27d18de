"""``ketline audit``: who changed what."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ketline.cli.options import DEFAULT_DATA, DataOption, JsonOption, LimitOption, examples
from ketline.cli.output import show

COLUMNS = {"at": "when", "actor": "who", "action": "did", "subject": "to", "details": "details"}


def audit(
    subject: Annotated[str | None, typer.Option(help="Only what was done to this.")] = None,
    limit: LimitOption = 50,
    data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
) -> None:
    """Show what administrators did, newest first, from a running server."""
    from ketline.cli.remote import Remote

    remote = Remote.of(data)
    lines = remote.ask("GET", "/ketline/v1/audit", query={"subject": subject, "limit": min(limit, 1_000)})
    names = {user["id"]: user["name"] for user in remote.ask("GET", "/ketline/v1/users")["users"]}
    rows = [
        {**line, "actor": names.get(line["actor"], line["actor"]), "details": json.dumps(line["facts"])}
        for line in lines["audit"]
    ]
    show(lines["audit"] if as_json else rows, COLUMNS, as_json=as_json, empty="Nothing was changed yet.")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog=examples("ketline audit --data ./centre", "ketline audit --subject ket_fez --json"))(
        audit
    )
