"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ketline.cli.output import Refusal

if TYPE_CHECKING:
    from ketline.config import Settings

DEFAULT_DATA = Path("ketline-data")

DataOption = Annotated[
    Path,
    typer.Option(
        "--data", envvar="KETLINE_DATA", metavar="DIR", file_okay=False, help="Folder of the server's data."
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="KETLINE_CONFIG",
        metavar="FILE",
        dir_okay=False,
        help="Configuration (TOML); unset: that of the server which works in the folder, if one does.",
    ),
]
InstanceOption = Annotated[
    str | None, typer.Option("--instance", metavar="NAME", help="Only this instance; unset: all.")
]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many at most.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def settings_of(config: Path | None, data: Path | None = None) -> Settings:
    """The configuration that was named, or that of the server at work in ``data``; a wrong one is refused."""
    from ketline.cli.data_folder import server_config
    from ketline.config import ConfigError, load

    if config is None and data is not None:
        config = server_config(data.expanduser().resolve())
    try:
        return load(config)
    except ConfigError as error:
        raise Refusal(str(error)) from error


def examples(*lines: str) -> str:
    """An epilog that teaches by examples."""
    return "\n\n".join(["Examples:", *(f"$ {line}" for line in lines)])
