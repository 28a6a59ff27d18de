"""The clock that decisions are made by: times of the day that never jump."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """Seconds since the epoch, read once from the machine's clock and carried on by the monotonic one.

    Setting the machine's clock changes nothing while the process lives. ``not_before`` is the latest time
    that was written down: a clock that was set back between two starts goes on from there.
    """

    def __init__(self, not_before: float = 0.0) -> None:
        self._offset = max(time.time(), not_before) - time.monotonic()

    def now(self) -> float:
        """The time now."""
        return time.monotonic() + self._offset


def as_datetime(seconds: float) -> datetime:
    """A time as the outside sees it: UTC and aware."""
    return datetime.fromtimestamp(seconds, UTC)


def maybe_datetime(seconds: float | None) -> datetime | None:
    """The same for a time that may not have come."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
