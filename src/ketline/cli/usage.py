"""``ketline usage``: the ledger's sums, and its lines as CSV."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ketline.cli.options import DEFAULT_DATA, DataOption, InstanceOption, JsonOption, examples
from ketline.cli.output import Refusal, done, print_json, show


class Group(StrEnum):
    """What usage is summed up by."""

    INSTANCE = "instance"
    BACKEND = "backend"
    USER = "user_id"
    DATE = "date"


def usage(
    by: Annotated[Group, typer.Option("--by", help="What to sum up by.")] = Group.INSTANCE,
    start: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="From this time on (ISO 8601; UTC unless it says otherwise)."),
    ] = None,
    end: Annotated[str | None, typer.Option(metavar="TIME", help="Up to this time.")] = None,
    instance: InstanceOption = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write every line of the ledger into a file.")
    ] = None,
    data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
) -> None:
    """Sum up what was used, from the ledger of a running server."""
    from ketline.cli.remote import Remote

    remote = Remote.of(data)
    crns = remote.instances()
    if not crns:
        raise Refusal("there are no instances.", "Make one with `ketline instances create`.")
    crn = next(iter(crns.values()))
    asked = {"instance": instance, "start": start, "end": end}
    if csv is not None:
        remote.save("/ketline/v1/ledger", csv, query={**asked, "format": "csv"}, crn=crn)
        done(f"The ledger is in {csv}.", {"csv": str(csv)}, as_json=as_json)
        return
    told = remote.ask("GET", "/ketline/v1/ledger/totals", query={**asked, "by": by.value}, crn=crn)
    if as_json:
        print_json(told)
        return
    names: dict[str, str] = {}
    if by is Group.INSTANCE:
        instances = remote.ask("GET", "/ketline/v1/instances")["instances"]
        names = {one["id"]: one["name"] for one in instances}
    if by is Group.USER:
        users = remote.ask("GET", "/ketline/v1/users")["users"]
        names = {user["id"]: user["name"] for user in users}
    if by is Group.DATE:
        names = {total["group"]: total["group"][:10] for total in told["totals"]}
    rows = [
        {**total, "group": names.get(total["group"], total["group"]), **_amount(total)}
        for total in told["totals"]
    ]
    columns = {
        "group": by.value.removesuffix("_id"),
        "kind": "mode",
        "count": "workloads",
        "seconds": "usage (s)",
        "longest_seconds": "longest (s)",
        "amount": f"cost ({told['cost']['currency']})" if "cost" in told else "",
    }
    show(rows, columns, as_json=False, empty="Nothing was used.")
    if rows:
        cost = f", {told['cost']['amount']:,.2f} {told['cost']['currency']}" if "cost" in told else ""
        print(f"\n{told['seconds']:,.3f} s{cost} in all.")


def _amount(total: dict[str, Any]) -> dict[str, float]:
    """What it costs, where the site has rates."""
    return {"amount": total["cost"]["amount"]} if "cost" in total else {}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        epilog=examples(
            "ketline usage --data ./centre --by user_id",
            "ketline usage --data ./centre --start 2027-01-01 --csv january.csv",
        )
    )(usage)
