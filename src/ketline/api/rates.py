"""The limit on submissions per user: a token bucket, off by default (``modes.md`` 0.2)."""

from __future__ import annotations

from time import monotonic

from ketline.errors import TOO_MANY_REQUESTS, KetlineError

_PERIOD_SECONDS = 60


class SubmissionRate:
    """Lets a user submit ``limit`` times a minute, all at once or spread; None lets everybody."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, user_id: str) -> None:
        """Count one submission; TOO_MANY_REQUESTS with the seconds to wait when there is none left."""
        if self._limit is None:
            return
        now = monotonic()
        level, since = self._buckets.get(user_id, (float(self._limit), now))
        level = min(self._limit, level + (now - since) * self._limit / _PERIOD_SECONDS)
        if level < 1:
            error = KetlineError(TOO_MANY_REQUESTS, limit=self._limit, period_seconds=_PERIOD_SECONDS)
            error.retry_after_seconds = (1 - level) * _PERIOD_SECONDS / self._limit
            raise error
        self._buckets[user_id] = (level - 1, now)
