"""``ketline keys import``: a class, a group or a department gets its keys at once."""

from __future__ import annotations

import contextlib
import csv
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from ketline.cli.options import DEFAULT_DATA, ConfigOption, DataOption, JsonOption
from ketline.cli.output import Refusal, print_json

if TYPE_CHECKING:
    from ketline.config import Settings
    from ketline.service.administration import Enrolment

COLUMNS = ("user", "name", "instances")


def import_keys(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV: a column user and, if wanted, name and instances.")
    ],
    instance: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="An instance that every key opens; again for more."),
    ] = None,
    plan: Annotated[
        str | None,
        typer.Option(help="Make every user an instance of their own, of their name, on this plan."),
    ] = None,
    account: Annotated[str, typer.Option(help="Account of the instances that are made.")] = "default",
    output: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Write users and keys into this file, which only you can read."),
    ] = None,
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make keys for many users: all of them, or none when one is refused. They are shown once.

    Several instances of a user are separated by spaces. Fair share is between instances: with --plan nobody
    waits behind another user's many jobs.
    """
    from ketline.cli.centre import Centre

    rows = _rows(file)
    with Centre(data, config) as centre, _kept(output) as sheet:
        wanted = [_enrolment(row, instance or [], plan, account, centre.settings) for row in rows]
        made = centre.enrol(wanted)
        if sheet is not None:
            _write(made, sheet)
    if as_json:
        print_json(made)
    elif output is None:
        _write(made, sys.stdout)
    where = f" are in {output}" if output is not None else ""
    typer.echo(f"{len(made)} keys{where}. They can't be shown again.", err=True)


@contextlib.contextmanager
def _kept(output: Path | None) -> Iterator[IO[str] | None]:
    """The file for the keys, which its owner alone can read; made before any key, gone if none is made."""
    if output is None:
        yield None
        return
    try:
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Refusal(
            f"{output}: {error.strerror}.", "Name a new file: keys can't be shown again."
        ) from error
    try:
        with os.fdopen(handle, "w", newline="", encoding="utf-8") as sheet:
            yield sheet
    except BaseException:
        output.unlink(missing_ok=True)
        raise


def _rows(file: Path) -> list[dict[str, str]]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as sheet:
            reader = csv.DictReader(sheet)
            columns = tuple(reader.fieldnames or ())
            unknown = [column for column in columns if column not in COLUMNS]
            if unknown or "user" not in columns:
                told = f"there is no column {unknown[0]!r}" if unknown else "the column user is missing"
                raise Refusal(f"{file}: {told}.", f"The columns are {', '.join(COLUMNS)}; user is needed.")
            rows = []
            for row in reader:
                if None in row or None in row.values():
                    raise Refusal(f"{file}, line {reader.line_num}: it hasn't {len(columns)} fields.")
                rows.append({key: value.strip() for key, value in row.items()})
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Refusal(f"{file}: {error}.", "A CSV file in UTF-8 is expected.") from error
    if not rows:
        raise Refusal(f"{file}: there are no users in it.")
    return rows


def _enrolment(
    row: dict[str, str], instances: list[str], plan: str | None, account: str, settings: Settings
) -> Enrolment:
    from ketline.config import ConfigError, instance_settings
    from ketline.service.administration import Enrolment

    named = tuple(dict.fromkeys([*instances, *row.get("instances", "").split()]))
    own = None
    if plan is not None:
        try:
            own = instance_settings({"name": row["user"], "plan": plan, "account": account}, settings)
        except ConfigError as error:
            raise Refusal(f"user {row['user']!r}: {error}") from error
    elif not named:
        raise Refusal(
            f"user {row['user']!r}: the key would open every instance.",
            "Say which with --instance or a column `instances`, or make them their own with --plan.",
        )
    return Enrolment(row["user"], row.get("name", ""), named, own)


def _write(made: list[dict[str, Any]], sheet: IO[str]) -> None:
    writer = csv.writer(sheet)
    writer.writerow(("user", "instances", "key"))
    writer.writerows((row["user"], " ".join(row["instances"]), row["key"]) for row in made)
