"""``ketline serve``: run the server in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ketline.cli.data_folder import forget_server, note_server
from ketline.cli.options import DEFAULT_DATA, DataOption, examples, settings_of
from ketline.cli.output import Refusal


def serve(
    data: DataOption = DEFAULT_DATA,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on, instead of the configuration's.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65_535, help="Port to listen on, instead of the configuration's; 0 takes any."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(envvar="KETLINE_CONFIG", metavar="FILE", dir_okay=False, help="Configuration (TOML)."),
    ] = None,
) -> None:
    """Run the server until it is stopped (Ctrl-C or SIGTERM).

    The folder is made at the first start, with an administrator and a key, an instance `default` and an
    instance `open`. The server is ready when GET /ketline/v1/health answers 200. What was accepted
    survives a crash: start it again with the same folder.
    """
    settings = settings_of(config)
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = settings.model_copy(update={"server": settings.server.model_copy(update=given)})

    from ketline.api.server import run
    from ketline.config import ConfigError
    from ketline.store.lock import FolderTaken
    from ketline.store.schema import StoreError

    folder = data.expanduser().resolve()

    def ready(url: str, local: str) -> None:
        note_server(folder, url, local, config)
        print(f"Ketline is ready at {url}", flush=True)

    try:
        run(settings, folder, ready=ready)
    except (FolderTaken, StoreError, ConfigError, OSError) as error:
        raise Refusal(str(error)) from error
    finally:
        forget_server(folder)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        epilog=examples(
            "ketline serve",
            "ketline serve --data ./centre --port 8080",
            "ketline serve --data ./centre --config ketline.toml --host 0.0.0.0",
        )
    )(serve)
