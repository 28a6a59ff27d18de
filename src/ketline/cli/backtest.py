"""``ketline backtest``: how often start and end times would have been foretold rightly, on a trace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ketline.cli.options import JsonOption, examples
from ketline.cli.output import Refusal, print_json, show
from ketline.cli.simulate import CentreOption, traces_of

NAMES = {"running": "start", "finished": "end"}
COLUMNS = {
    "of": "time of",
    "forecasts": "forecasts",
    "stated": "stated",
    "inside": "truth inside",
    "median_width": "width: median (s)",
    "p90_width": "90 % (s)",
    "mean_wait": "mean time ahead (s)",
    "mean_ratio": "mean width over it",
}


def backtest(
    load: Annotated[
        Path, typer.Argument(metavar="TRACE", help="A trace (.csv, .parquet) or a synthetic load (.toml).")
    ],
    centre: CentreOption = None,
    every: Annotated[int, typer.Option(min=1, help="Forecast every so many jobs.")] = 10,
    skip: Annotated[int, typer.Option(min=0, help="Only learn from so many jobs first.")] = 50,
    coverage: Annotated[
        float, typer.Option(min=0.5, max=0.99, help="The share of truths that intervals shall hold.")
    ] = 0.9,
    window: Annotated[
        list[str] | None,
        typer.Option(
            "--window",
            metavar="QPU,START,SECONDS[,INSTANCE]",
            help="Maintenance or a reservation that there was (as in simulate); repeatable.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The seed of a synthetic load, and of the forecasts.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Replay a trace and forecast its jobs as they come, from what was known then; compare with the truth.

    Tells how often the truth fell inside intervals of the stated coverage, and how wide they were. The trace
    is replayed by the scheduler, so that the truth is the replay's: a centre with other hardware or other
    lanes than it had is described by --centre.
    """
    from dataclasses import replace

    from ketline.cli.simulate import centre_of
    from ketline.config import ConfigError
    from ketline.planning.backtest import backtest as replay
    from ketline.planning.centre import CentreError
    from ketline.planning.trace import TraceError

    try:
        traces, closures = traces_of(load, 1, seed, window or [])
        place = replace(centre_of(centre, traces), closures=closures)
        found = replay(place, traces[0], every=every, skip=skip, seed=seed, coverage=coverage)
        told = found.as_dict()
    except (TraceError, CentreError, ConfigError) as error:
        raise Refusal(str(error)) from error
    except ValueError as error:
        jobs = len(traces[0].jobs)
        way_out = f"It has {jobs} jobs; lower --skip and --every, or take a longer trace."
        raise Refusal(f"{load}: {error}.", way_out) from error
    if as_json:
        print_json(told)
        return
    show([{"of": name, **told[key]} for key, name in NAMES.items()], COLUMNS, as_json=False)
    print(f"\nA forecast took {told['median_seconds_to_compute']:.2g} s in the median.")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        epilog=examples(
            "ketline backtest january.csv",
            "ketline backtest january.parquet --centre ketline.toml --every 5 --json",
        )
    )(backtest)
