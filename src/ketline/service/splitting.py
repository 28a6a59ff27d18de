"""Where the time of a session or batch went, from its windows and its jobs' own times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ketline.service.views import SessionSplit

Span = tuple[float, float]


def split(
    windows: Sequence[Span],
    busy: Iterable[Span],
    on_qpu_seconds: float,
    billed_seconds: float,
    as_batch_seconds: float,
) -> SessionSplit:
    """Divide the windows (``modes.md`` 3.4).

    Args:
        windows: when the workload was active, as (from, to).
        busy: when each of its jobs was running, preparation and finalizing included.
        on_qpu_seconds: how long its jobs had the QPU.
        billed_seconds: what the ledger holds of it.
        as_batch_seconds: what its jobs are billed in a batch.
    """
    active = sum(end - start for start, end in windows)
    working = _length(_within(_merged(busy), windows))
    on_qpu = min(on_qpu_seconds, working)
    return SessionSplit(
        active_seconds=active,
        on_qpu_seconds=on_qpu,
        classical_seconds=working - on_qpu,
        idle_seconds=active - working,
        billed_seconds=billed_seconds,
        as_batch_seconds=as_batch_seconds,
    )


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def _within(spans: Sequence[Span], windows: Sequence[Span]) -> list[Span]:
    return [
        (max(start, opened), min(end, closed))
        for opened, closed in windows
        for start, end in spans
        if max(start, opened) < min(end, closed)
    ]


def _length(spans: Iterable[Span]) -> float:
    return sum(end - start for start, end in spans)
