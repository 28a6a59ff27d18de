"""``ketline simulate``: run a centre on a virtual clock, and compare two settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ketline.cli.options import JsonOption, examples
from ketline.cli.output import Refusal, print_json, show

if TYPE_CHECKING:
    from ketline.planning.centre import Centre
    from ketline.planning.closures import Closure
    from ketline.planning.trace import Trace

CentreOption = Annotated[
    Path | None,
    typer.Option(
        "--centre", metavar="FILE", dir_okay=False,
        help="The centre's configuration (a ketline.toml); unset: what the load names, with default figures.",
    ),
]  # fmt: skip
VARIATIONS = (
    "lanes, qpus, interactive_ttl_seconds, batch_interactive_ttl_seconds, calibration_interval_seconds, "
    "calibration_seconds, sessions_as (session, batch, job), limits (hold, stop, off), windows (on, off)"
)


def simulate(
    load: Annotated[
        Path, typer.Argument(metavar="LOAD", help="A trace (.csv, .parquet) or a synthetic load (.toml).")
    ],
    centre: CentreOption = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help=f"Change the setting: {VARIATIONS}."),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option("--against", metavar="NAME=VALUE", help="Compare with this setting; again for more."),
    ] = None,
    window: Annotated[
        list[str] | None,
        typer.Option(
            "--window",
            metavar="QPU,START,SECONDS[,INSTANCE]",
            help="Take a QPU away: for maintenance, or reserved for INSTANCE. START is in seconds from the "
            "start of the load, or in a trace a time. Repeatable; --against windows=off tells what it costs.",
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, max=1_000, help="How many seeds of a synthetic load to run.")
    ] = 1,
    first_seed: Annotated[int, typer.Option("--seed", min=0, help="The first seed.")] = 1,
    warm_up: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Leave out what is submitted before this time.")
    ] = 0.0,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw waiting and utilisation (.svg or .png).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a centre on a virtual clock: the real scheduler, the time of minutes in milliseconds.

    Prints utilisation, waiting by mode and instance, fairness and the idle share of sessions. With
    --against the same load runs under a second setting, and every figure is told with the interval of the
    difference and whether it is larger than chance.
    """
    from dataclasses import replace

    from ketline.config import ConfigError
    from ketline.planning.centre import CentreError, parse_variation
    from ketline.planning.simulate import compare, study
    from ketline.planning.trace import TraceError

    if picture is not None and picture.suffix not in {".svg", ".png"}:
        raise Refusal(f"--picture: {picture}: the name must end in .svg or .png.")
    try:
        traces, closures = traces_of(load, seeds, first_seed, window or [])
        place = replace(centre_of(centre, traces), closures=closures)
        settings = [study(place, traces, parse_variation(change or []), warm_up_seconds=warm_up)]
        if against:
            settings.append(study(place, traces, parse_variation(against), warm_up_seconds=warm_up))
        differences = compare(settings[0], settings[1]) if against else {}
    except (TraceError, CentreError, ConfigError) as error:
        raise Refusal(str(error)) from error
    if picture is not None:
        from ketline.planning.pictures import draw

        picture.parent.mkdir(parents=True, exist_ok=True)
        draw(settings).savefig(picture)
    from ketline.planning import report

    if as_json:
        told = {"settings": [setting.as_dict() for setting in settings]}
        print_json(told | ({"differences": report.difference_rows(differences)} if against else {}))
        return
    for setting in settings:
        events = sum(run.events for run in setting.runs)
        seconds = sum(run.wall_seconds for run in setting.runs)
        print(f"{setting.variation.describe()}: {events:,} events in {seconds:.2f} s\n")
        show(report.waiting_rows(setting), report.WAITING_COLUMNS, as_json=False, empty="No job ran.")
        print()
        show(report.qpu_rows(setting), report.QPU_COLUMNS, as_json=False)
        print()
        show(report.summary_rows(setting), report.SUMMARY_COLUMNS, as_json=False)
        print()
    if against:
        show(report.difference_rows(differences), report.DIFFERENCE_COLUMNS, as_json=False)
    if picture is not None:
        print(f"The picture is in {picture}.")


def traces_of(
    load: Path, seeds: int, first_seed: int, words: list[str]
) -> tuple[list[Trace], tuple[Closure, ...]]:
    """The trace of every seed, and the windows of the load and of the flags."""
    from ketline.planning.closures import ClosureError, parse_window
    from ketline.planning.simulate import load_toml
    from ketline.planning.trace_files import read

    if load.suffix.lower() == ".toml":
        described = load_toml(load)
        traces = [described.trace(seed) for seed in range(first_seed, first_seed + seeds)]
        closures, origin, start = described.closures(), 0.0, None
    elif seeds != 1:
        raise Refusal(f"--seeds {seeds}: {load} is a trace, which is the same for every seed.")
    else:
        traces, closures = [read(load)], ()
        origin = start = traces[0].start()
    try:
        more = [parse_window(text, start) for text in words]
    except ClosureError as error:
        raise Refusal(f"--window: {error}.") from error
    return traces, closures + tuple(w.closure(n, origin) for n, w in enumerate(more, len(closures) + 1))


def centre_of(path: Path | None, traces: list[Trace]) -> Centre:
    """The centre of a ketline.toml, or the one that the traces imply; `CentreError`, `ConfigError`."""
    from ketline.planning.centre import CentreError, configured, implied

    if path is not None:
        return configured(path)
    if not any(trace.jobs for trace in traces):
        raise CentreError("the load holds no job")
    return implied(max(traces, key=lambda trace: len(trace.instances())))


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        epilog=examples(
            "ketline simulate load.toml --seeds 5",
            "ketline simulate load.toml --seeds 8 --against lanes=3 --picture lanes.svg",
            "ketline simulate load.toml --seeds 8 --window ket_fez,7200,3600 --against windows=off",
            "ketline simulate trace.parquet --centre ketline.toml --against sessions_as=batch --json",
        )
    )(simulate)
