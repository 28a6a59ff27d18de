"""Execution spans of the sampler: which data were taken when (``rest.md`` E.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ketline.units.work import Outcome


def execution_spans(pubs: list[dict[str, Any]], outcome: Outcome) -> Any:
    """Spans as the client's ``ExecutionSpans``; pieces that ran in one and the same time are one span.

    ``pubs`` hold ``shape`` (of the item: randomisations first when twirled), ``item_shots``, and
    ``randomizations`` and ``shots`` of the PUB.
    """
    from qiskit_ibm_runtime.execution_span import DoubleSliceSpan, ExecutionSpans, TwirledSliceSpanV2

    together: dict[tuple[Any, Any, bool], dict[int, Any]] = {}
    for span in outcome.spans:
        pub = pubs[span.item]
        twirled = bool(pub["randomizations"])
        shape = (*pub["shape"], pub["item_shots"])
        place = slice(span.first_set, span.last_set)
        shots = slice(0, pub["item_shots"])
        pieces = together.setdefault((span.start, span.stop, twirled), {})
        pieces[span.item] = (shape, True, place, shots, pub["shots"]) if twirled else (shape, place, shots)
    return ExecutionSpans(
        [
            (TwirledSliceSpanV2 if twirled else DoubleSliceSpan)(start, stop, pieces)
            for (start, stop, twirled), pieces in together.items()
        ]
    )
