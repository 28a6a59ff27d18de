"""``ketline``: the console entry. Each verb has a file of its own, and imports what it needs when called."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from ketline import __version__
from ketline.cli import (
    audit,
    backtest,
    backup,
    demo,
    doctor,
    env,
    estimate,
    explain,
    export,
    instances,
    jobs,
    keys,
    plan,
    qpus,
    serve,
    sessions,
    simulate,
    top,
    usage,
)
from ketline.cli.output import Refusal, fail
from ketline.errors import KetlineError

app = typer.Typer(
    name="ketline",
    help="A self-hosted quantum runtime: job, batch and session mode for the unmodified "
    "qiskit-ibm-runtime client.",
    epilog="First steps:\n\n"
    "$ ketline demo                        the three modes, with a picture\n\n"
    "$ ketline serve --data ./centre       a server that keeps its data in ./centre\n\n"
    '$ eval "$(ketline env --data ./centre)"   point the client of this shell at it',
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _ketline(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
    show_traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where an unexpected error came from.")
    ] = False,
) -> None:
    pass


for verb in (serve, env, demo):
    verb.register(app)
for group in (jobs, sessions, qpus, instances, keys):
    app.add_typer(group.app)
for verb in (usage, audit, explain, estimate, top, plan, simulate, backtest, export, backup, doctor):
    verb.register(app)


def run(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 when it worked, 2 for wrong usage, 1 for everything else."""
    arguments = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        code = typer.main.get_command(app).main(arguments, prog_name="ketline", standalone_mode=False)
        sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else 0)
    except SystemExit as ended:
        # typer ends the process by itself when the reader of our output (head, less) has seen enough.
        sys.exit(0 if isinstance(ended.__context__, BrokenPipeError) else ended.code)
    except BrokenPipeError:
        # Python's own last flush must not fail either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        hint = f" (see `{context.command_path} --help`)" if context is not None else ""
        fail(f"{error.format_message()}{hint}", code=2)
    except (Refusal, KetlineError) as error:
        fail(error.message, error.solution)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        fail(f"{where}{error.strerror or error}.", "Name a place that can be read and written.")
    except Exception as error:  # noqa: BLE001 - a person at a terminal gets a line, not a traceback
        if "--traceback" in arguments:
            import traceback

            traceback.print_exc()
        fail(f"unexpected {type(error).__name__}: {error}", "Run `ketline --traceback …` to see where.")


if __name__ == "__main__":
    run()
