"""Maintenance and reservations of a simulated centre: when a QPU isn't there for everyone."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import Field, ValidationError

from ketline.core import events
from ketline.core.model import QpuWindow
from ketline.planning.synthetic import Part
from ketline.planning.virtual import Performer
from ketline.problems import problem


class ClosureError(ValueError):
    """A window makes no sense; the message names what."""


@dataclass(frozen=True, slots=True)
class Closure:
    """A window of the core, and when it is announced (seconds since the epoch, or on the load's clock)."""

    window: QpuWindow
    announced_at: float


class Window(Part):
    """`[[windows]]`: a span in which a QPU is under maintenance, or reserved for one instance."""

    qpu: str = Field(min_length=1)
    """QPU that is taken away."""
    starts_at: float = Field(ge=0, allow_inf_nan=False)
    """When it begins, in seconds from the start of the load."""
    seconds: float = Field(gt=0, allow_inf_nan=False)
    """How long it lasts."""
    instance: str | None = Field(None, min_length=1)
    """Instance that the QPU is reserved for; unset: maintenance, and nobody has it."""
    announced_seconds_before: float | None = Field(None, ge=0)
    """How long before its begin it is announced; unset: it is known from the start."""

    def closure(self, number: int, origin: float = 0.0) -> Closure:
        """The window with its times after ``origin``, where the load starts."""
        begins = origin + self.starts_at
        announced = (
            -math.inf if self.announced_seconds_before is None else begins - self.announced_seconds_before
        )
        window = QpuWindow(f"window-{number}", self.qpu, begins, begins + self.seconds, self.instance)
        return Closure(window, announced)


def parse_window(text: str, start: float | None) -> Window:
    """``QPU,START,SECONDS`` or ``QPU,START,SECONDS,INSTANCE``; `ClosureError` names what is wrong.

    START is in seconds from the start of the load; of a recorded trace, which starts at ``start``, it may be
    a time (ISO 8601; UTC unless it says so) instead.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in (3, 4):
        raise ClosureError(f"{text!r}: write QPU,START,SECONDS or QPU,START,SECONDS,INSTANCE")
    given: dict[str, object] = {"qpu": parts[0], "seconds": parts[2]}
    given["starts_at"] = _start(parts[1], start, text)
    if len(parts) == 4:
        given["instance"] = parts[3]
    try:
        return Window.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise ClosureError(f"{text!r}: {first['loc'][0]}: {problem(first)}") from error


def _start(text: str, start: float | None, whole: str) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ClosureError(f"{whole!r}: START: {text!r} is neither seconds nor an ISO 8601 time") from None
    if start is None:
        raise ClosureError(f"{whole!r}: START: a synthetic load has no dates; give seconds from its start")
    seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - start
    if seconds < 0:
        begins = datetime.fromtimestamp(start, UTC)
        raise ClosureError(f"{whole!r}: START: the trace begins later, at {begins:%Y-%m-%dT%H:%M:%S} UTC")
    return seconds


def announce(performer: Performer, closures: Iterable[Closure]) -> None:
    """Have every window announced in its time, those of the past at once."""
    for closure in closures:
        performer.push(closure.announced_at, events.WindowAnnounced(closure.window))


def closed_spans(closures: Iterable[Closure], qpu_id: str) -> list[tuple[float, float]]:
    """When a QPU isn't there for everyone, as (from, to)."""
    windows = (closure.window for closure in closures)
    return [(window.starts_at, window.ends_at) for window in windows if window.qpu_id == qpu_id]
