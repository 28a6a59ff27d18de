"""``ketline estimate``: what a job would use and cost, before it is submitted."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ketline.cli.options import DEFAULT_DATA, DataOption, JsonOption, examples
from ketline.cli.output import Refusal, print_json


def estimate(
    payload: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PAYLOAD]",
            help="A file with the body of a submission (JSON); - reads it from the standard input.",
        ),
    ] = None,
    backend: Annotated[
        str | None, typer.Option(help="The backend; overrides the payload's.", metavar="NAME")
    ] = None,
    circuits: Annotated[
        int | None, typer.Option(min=1, help="Circuits after broadcasting, instead of a payload.")
    ] = None,
    shots: Annotated[int | None, typer.Option(min=1, help="Shots of a circuit.")] = None,
    program: Annotated[str | None, typer.Option(help="The program of a job without a payload.")] = None,
    instance: Annotated[str | None, typer.Option(help="The instance; unset: the first one.")] = None,
    data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
) -> None:
    """Say what a job would use and cost, and which limits it would hit. Nothing is submitted.

    A payload is prepared as its job's would be, so it is refused for the same reasons.
    """
    from ketline.cli.remote import Remote

    body = _body(payload, {"circuits": circuits, "shots": shots, "program": program})
    if backend is not None:
        body["backend"] = backend
    remote = Remote.of(data)
    crns = remote.instances()
    if not crns:
        raise Refusal("there is no instance.", "Make one: `ketline instances create`.")
    if instance is not None and instance not in crns:
        raise Refusal(f"there is no instance {instance!r}.", f"There are {', '.join(crns)}.")
    crn = crns[instance] if instance is not None else next(iter(crns.values()))
    told = remote.ask("POST", "/ketline/v1/estimate", body=body, crn=crn)
    if as_json:
        print_json(told)
    else:
        _print(told)


def _body(payload: Path | None, described: dict[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in described.items() if value is not None}
    if payload is None:
        if not given:
            raise Refusal(
                "say what is to be estimated.", "Name a payload file, or give --circuits and --shots."
            )
        return given
    if given:
        raise Refusal(f"--{next(iter(given))} goes without a payload, which says that itself.")
    try:
        text = sys.stdin.read() if payload == Path("-") else payload.read_text(encoding="utf-8")
        body = json.loads(text)
    except (OSError, ValueError) as error:
        raise Refusal(f"{payload}: {error}") from error
    if not isinstance(body, dict):
        raise Refusal(f"{payload}: a JSON object is expected.")
    return body


def _print(told: dict[str, Any]) -> None:
    seconds, expected = told["estimated_running_time_seconds"], told["expected_seconds"]
    where = f"A {told['program']} job on {told['backend']}"
    if seconds is None:
        print(f"{where}: how long it takes depends on its circuits here.")
    else:
        print(f"{where} will use about {seconds:.4g} s.")
    print(
        f"Such jobs really took {expected['low']:.3g} to {expected['high']:.3g} s "
        f"({expected['coverage']:.0%} of them), {expected['median']:.3g} s in the middle."
    )
    for number, part in enumerate(told["rounds"], 1):
        parts = part["breakdown"]
        of = f"Round {number} of {len(told['rounds'])}" if len(told["rounds"]) > 1 else "On the real device"
        least = "at least " if part["at_least"] else ""
        print(
            f"{of}: {least}{part['formula_seconds']:.4g} s for {part['executions']:,} executions "
            f"({parts['overhead_seconds']:.3g} s overhead, {parts['rep_delay_seconds']:.3g} s delays, "
            f"{parts['circuit_seconds']:.3g} s circuits)."
        )
    if cost := told.get("cost"):
        print(f"It costs about {cost['amount']:.2f} {cost['currency']}.")
    for hit in told["limits"]:
        print(f"Limit: {hit['message']} {hit['solution']}")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        epilog=examples(
            "ketline estimate job.json --data ./centre",
            "ketline estimate --backend ket_fez --circuits 100 --shots 4096",
        )
    )(estimate)
