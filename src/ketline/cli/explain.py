"""``ketline explain``: why a job waits, and when it will start."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from ketline.cli.options import DEFAULT_DATA, ConfigOption, DataOption, JsonOption, examples
from ketline.cli.output import print_json


def explain(
    job_id: Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")],
    data: DataOption = DEFAULT_DATA,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say where a job stands: its position, what it waits for, when it will start, its story so far."""
    from ketline.cli.owned import Noun, ask

    told = ask(data, config, Noun.JOB_OF_OURS, job_id, "GET", "/explain")
    if as_json:
        print_json(told)
        return
    stage = "" if told["stage"] == "none" else f" ({told['stage'].replace('_', ' ')})"
    print(f"{told['id']} is {told['status']}{stage}.")
    if told["position"] is not None:
        print(
            f"It is number {told['position']} of {told['queue_length']} in the queue, number "
            f"{told['position_own']} of its instance's."
        )
    _print_reason(told["reason"])
    for key, name in (("start", "It starts"), ("on_qpu", "It is on the QPU"), ("finish", "It ends")):
        if told[key] is not None:
            print(_expected(name, told[key], told["as_of"]))
    if told["status"] == "queued" and told["start"] is None:
        print("When it starts can't be told: nothing that is known lets it start.")
    print("\nIts story:")
    for entry in told["story"]:
        print(f"  {_local(entry['at'])}  {entry['what']}")


def _print_reason(reason: dict[str, Any] | None) -> None:
    if reason is None:
        return
    print(reason["message"] + (f" {reason['solution']}" if reason.get("solution") else ""))
    if reason.get("until"):
        print(f"That ends at {_local(reason['until'])} at the latest.")


def _local(text: str) -> str:
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _expected(name: str, interval: dict[str, Any], as_of: str) -> str:
    now = datetime.fromisoformat(as_of)
    early, middle, late = (
        (datetime.fromisoformat(interval[key]) - now).total_seconds()
        for key in ("earliest", "median", "latest")
    )
    return (
        f"{name} in about {_duration(middle)} ({_duration(early)} to {_duration(late)}, "
        f"{interval['coverage']:.0%} of the time)."
    )


def _duration(seconds: float) -> str:
    seconds = max(0.0, seconds)
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog=examples("ketline explain --data ./centre d4f0c1…"))(explain)
