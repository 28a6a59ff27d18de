"""``ketline plan``: one workload in job, batch and session mode, side by side, with an advice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ketline.cli.options import JsonOption, examples
from ketline.cli.output import Refusal, print_json, show

if TYPE_CHECKING:
    from ketline.planning.timeline import Panel
    from ketline.planning.trace import Trace


def plan(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A description (TOML); flags override its keys.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="How many jobs.")] = None,
    qpu_seconds: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="QPU time of a job.")
    ] = None,
    circuits: Annotated[
        int | None, typer.Option(min=1, help="Circuits of a job, instead of its QPU time.")
    ] = None,
    shots: Annotated[int | None, typer.Option(min=1, help="Shots of a circuit.")] = None,
    prepare_seconds: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="Classical time of a job before the QPU.")
    ] = None,
    finalize_seconds: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="Classical time of a job after the QPU.")
    ] = None,
    iterative: Annotated[
        bool | None, typer.Option("--iterative/--all-ready", help="Whether jobs wait for earlier results.")
    ] = None,
    jobs_per_iteration: Annotated[
        int | None, typer.Option(min=1, help="Jobs that an iteration submits together.")
    ] = None,
    think_seconds: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="Your time between results and the next submission."),
    ] = None,
    close_seconds: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="Time from the last result to closing a session."),
    ] = None,
    reuses_noise_model: Annotated[
        bool | None,
        typer.Option("--reuses-noise-model", help="Later jobs use noise that earlier ones learned."),
    ] = None,
    spread: Annotated[
        float | None, typer.Option(min=0, max=2, help="How far times may be off: sigma of their logarithm.")
    ] = None,
    past: Annotated[
        Path | None, typer.Option(metavar="TRACE", help="Describe it by past jobs of this trace; see --of.")
    ] = None,
    of: Annotated[
        list[str] | None,
        typer.Option("--of", metavar="ID", help="A past job, session or batch; repeatable."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="DIR", file_okay=False, help="Plan under this server's present queue."
        ),
    ] = None,
    crowd: Annotated[
        Path | None,
        typer.Option(metavar="LOAD", help="Plan among others who submit as it says (TOML)."),
    ] = None,
    centre: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The centre's configuration (a ketline.toml).")
    ] = None,
    backend: Annotated[str | None, typer.Option(help="The QPU; unset: the first one.")] = None,
    instance: Annotated[str | None, typer.Option(help="The instance; unset: the first one.")] = None,
    replicas: Annotated[int, typer.Option(min=1, max=100, help="How many futures to play.")] = 15,
    picture: Annotated[
        Path | None, typer.Option(metavar="STEM", help="Draw the three timelines into STEM.svg and STEM.png.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the three modes for a workload, and say which to choose and why.

    Without --data and --crowd nobody else is there. Times are medians with the interval that 90 % of the
    futures fall into.
    """
    given = {
        "jobs": jobs, "qpu_seconds": qpu_seconds, "circuits": circuits, "shots": shots,
        "prepare_seconds": prepare_seconds, "finalize_seconds": finalize_seconds, "iterative": iterative,
        "jobs_per_iteration": jobs_per_iteration, "think_seconds": think_seconds,
        "close_seconds": close_seconds, "reuses_noise_model": reuses_noise_model, "spread": spread,
    }  # fmt: skip
    flags = {name: value for name, value in given.items() if value is not None}
    workload = _description(file, flags, past, of or [], data)
    if data is not None:
        for name, value in (("--crowd", crowd), ("--centre", centre)):
            if value is not None:
                raise Refusal(f"{name} goes without --data: a server has its own queue and configuration.")
        told, panels = _ask_server(data, workload, backend, instance, replicas)
    else:
        told, panels = _play(workload, crowd, centre, backend, instance, replicas)
    if picture is not None:
        from ketline.planning.timeline_picture import draw, save

        if not panels:
            raise Refusal("--picture: no mode is possible, so there is nothing to draw.")
        files = save(draw(panels, f"{told['advised']} mode is advised"), picture)
    if as_json:
        print_json(told)
        return
    _print(told)
    if picture is not None:
        print("\nThe picture is in " + " and ".join(str(file) for file in files) + ".")


def _description(
    file: Path | None, flags: dict[str, Any], past: Path | None, of: list[str], data: Path | None
) -> dict[str, Any]:
    """The keys of the workload: of past jobs, of a file, of flags; later ones override earlier ones."""
    from ketline.planning.trace import TraceError
    from ketline.planning.trace_files import read
    from ketline.planning.workload import WorkloadError, described, of_past, read_toml

    if past is not None and not of:
        raise Refusal("--past goes with --of: the ids of jobs, sessions or batches in the trace.")
    if of and past is None and data is None:
        raise Refusal("--of needs --past TRACE or --data DIR, where the past jobs are.")
    values: dict[str, Any] = {}
    try:
        if of:
            trace = read(past) if past is not None else _past_of(data)
            values |= of_past(trace, of).model_dump(exclude_unset=True)
        if file is not None:
            values |= read_toml(file)
        if "circuits" in flags:
            values.pop("qpu_seconds", None)
        elif "qpu_seconds" in flags:
            values.pop("circuits", None)
        values |= flags
        if not values:
            raise Refusal("describe the workload.", "Name a TOML file, or give --jobs and --qpu-seconds.")
        described(values, "flags" if file is None else str(file))
    except (WorkloadError, TraceError) as error:
        raise Refusal(str(error)) from error
    return values


def _past_of(data: Path | None) -> Trace:
    from ketline.cli.export import read_folder

    assert data is not None
    return read_folder(data, None, None, None)


def _play(
    values: dict[str, Any],
    crowd: Path | None,
    centre: Path | None,
    backend: str | None,
    instance: str | None,
    replicas: int,
) -> tuple[dict[str, Any], list[Panel]]:
    from dataclasses import replace

    from ketline.config import ConfigError
    from ketline.core.model import InstanceSpec, QpuSpec
    from ketline.planning import advise, situations
    from ketline.planning.centre import Centre, CentreError, configured, implied
    from ketline.planning.simulate import load_toml
    from ketline.planning.trace import TraceError
    from ketline.planning.workload import described

    try:
        load = None if crowd is None else load_toml(crowd)
        if centre is not None:
            place = configured(centre)
        elif load is not None:
            place = implied(load.trace(0))
        else:
            place = Centre((QpuSpec(backend or "qpu"),), ())
        if load is not None:
            place = replace(place, closures=load.closures())
        known = {item.instance_id for item in place.instances}
        if instance is None and centre is not None:
            instance = place.instances[0].instance_id
        elif instance is None or (centre is None and instance not in known):
            instance = instance or "you"
            place = replace(place, instances=(*place.instances, InstanceSpec(instance)))
        _known("--instance", instance, [item.instance_id for item in place.instances])
        qpu_id = _known("--backend", backend or place.qpus[0].qpu_id, [qpu.qpu_id for qpu in place.qpus])
        situation = situations.empty(place) if load is None else situations.described(place, load)
    except (TraceError, CentreError, ConfigError) as error:
        raise Refusal(str(error)) from error
    found = advise.plan(described(values, "flags"), situation, instance, qpu_id, replicas=replicas)
    return found.as_dict(), found.panels()


def _known(option: str, name: str, names: list[str]) -> str:
    if name not in names:
        raise Refusal(f"{option}: there is no {name!r}; there are {', '.join(names)}.")
    return name


def _ask_server(
    data: Path, values: dict[str, Any], backend: str | None, instance: str | None, replicas: int
) -> tuple[dict[str, Any], list[Panel]]:
    from ketline.cli.remote import Remote
    from ketline.planning.timeline import JobSpan, Panel, Window

    remote = Remote.of(data)
    crns = remote.instances()
    name = _known("--instance", instance or next(iter(crns), ""), list(crns))
    qpus = remote.ask("GET", "/ketline/v1/queue", query={"limit": 1}, crn=crns[name])["qpus"]
    chosen = _known("--backend", backend or qpus[0]["backend"], [qpu["backend"] for qpu in qpus])
    asked = {"backend": chosen, "workload": values, "replicas": replicas}
    told = remote.ask("POST", "/ketline/v1/plan", body=asked, crn=crns[name])
    panels = [
        Panel(
            title=shown["title"],
            explanation="",
            jobs=tuple(
                JobSpan(
                    str(number), "yours" if job["yours"] else "others", job["created"], job["running"],
                    job["finished"], job["ready"], tuple((start, end) for start, end in job["locks"]),
                )
                for number, job in enumerate(shown["jobs"])
            ),
            windows=tuple(
                Window(frozenset({"yours"}), w["from"], w["to"], exclusive=w["exclusive"], label=w["label"])
                for w in shown["windows"]
            ),
            lanes=shown["lanes"],
            others=frozenset({"others"}),
            summary=shown["summary"],
        )
        for shown in told.pop("pictures")
    ]  # fmt: skip
    return told, panels


def _print(told: dict[str, Any]) -> None:
    names = {
        "wall_seconds": "wall time (s)",
        "waiting_seconds": "of it waiting (s)",
        "usage_seconds": "usage billed (s)",
        "classical_seconds": "of it classical (s)",
        "idle_seconds": "of it idle (s)",
        "cost": f"cost ({told['currency']})",
    }
    columns = {"what": ""} | {mode["mode"]: mode["mode"] for mode in told["modes"]}
    rows = []
    for key, name in names.items():
        row = {"what": name}
        for mode in told["modes"]:
            if key in mode:
                row[mode["mode"]] = _with_interval(mode[key])
            elif "refused" in mode:
                row[mode["mode"]] = "not possible"
        if len(row) > 1 and (key in told["modes"][0] or any(key in mode for mode in told["modes"])):
            rows.append(row)
    show(rows, columns, as_json=False)
    print(f"\nAdvice: {told['advised']} mode." if told["advised"] else "\nThis can't be run in any mode:")
    for reason in told["reasons"]:
        print(f"- {reason}")
    if told["hints"]:
        print("\nWhat else helps:")
        for hint in told["hints"]:
            print(f"- {hint}")


def _with_interval(figure: dict[str, float]) -> str:
    low, middle, high = (f"{figure[name]:,.4g}" for name in ("low", "median", "high"))
    return middle if low == high else f"{middle} ({low} .. {high})"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        epilog=examples(
            "ketline plan --jobs 20 --circuits 10 --shots 4096",
            "ketline plan vqe.toml --data ./centre --picture vqe",
            "ketline plan --jobs 50 --qpu-seconds 3 --iterative --think-seconds 2 --crowd load.toml",
        )
    )(plan)
