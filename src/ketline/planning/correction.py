"""Conformal correction: forecasts are made wider, or narrower, as earlier ones compare with what came true.

Source: Y. Romano, E. Patterson, E. Candès, "Conformalized Quantile Regression" (2019).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ketline.planning.statistics import Interval

MEMORY = 400
ADAPTION = 0.03
ENOUGH = 20
CHOSEN = 0.7
"""What is left of it: the shortest of several intervals misses more often than each of them."""
SPLITS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""How much of what may miss is on the early side: the split that makes the interval shortest is taken."""
MOST_MISSED = 0.8
"""How much of what may miss is given up, at most, for misses to be made good."""
SHORT_SECONDS = 10.0
LARGEST_SCORE = 30.0
"""No time is off by more on the scale of scores: that would be longer than the age of the universe."""

Floats = NDArray[np.float64]


@dataclass(slots=True)
class Record:
    """How past intervals compare with what came true: the scores of conformal correction.

    Scores are pairs: by how much the truth came before the interval, and by how much after it (negative
    inside). Each end is corrected by its own: what came late says nothing of how early things may come.
    ``missed`` is how much more often than stated the truth fell outside lately; it is made good by asking
    for more than the stated coverage while bursts last (I. Gibbs, E. Candès, "Adaptive Conformal Inference
    Under Distribution Shift", 2021).
    """

    scores: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=MEMORY))
    missed: float = 0.0

    def add(self, made_at: float, interval: Interval, truth: float) -> None:
        """Take in an uncorrected interval and the time that came true."""
        outside = truth not in self.correct(made_at, interval)
        allowed = 1.0 - interval.coverage
        most = MOST_MISSED * allowed
        self.missed = min(most, max(-most, self.missed + ADAPTION * (outside - allowed)))
        early, late = (_scale(made_at, at) for at in (interval.low, interval.high))
        came = _scale(made_at, truth)
        self.scores.append((early - came, came - late))

    def correct(self, made_at: float, interval: Interval) -> Interval:
        """The interval, widened or narrowed so that past ones would have had the coverage it states."""
        count = len(self.scores)
        if count < ENOUGH:
            return interval
        may_miss = CHOSEN * (1.0 - interval.coverage - self.missed)
        early, late = np.sort(np.array(self.scores), axis=0).T

        def shifted(before: float) -> Interval:
            """The interval that misses such a share of what may miss on its early side."""
            low_at, high_at = (
                _scale(made_at, interval.low) - _at_level(early, 1.0 - before * may_miss),
                _scale(made_at, interval.high) + _at_level(late, 1.0 - (1.0 - before) * may_miss),
            )
            low = min(max(made_at, _unscale(made_at, low_at)), interval.middle)
            return replace(interval, low=low, high=max(_unscale(made_at, high_at), interval.middle))

        return min(map(shifted, SPLITS), key=lambda found: found.width)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        scores = [[round(early, 4), round(late, 4)] for early, late in self.scores]
        return {"scores": scores, "missed": round(self.missed, 6)}

    @classmethod
    def from_dict(cls, kept: Any) -> Record:
        """The record that `as_dict` told; `ValueError` for anything else."""
        if not isinstance(kept, dict) or set(kept) != {"scores", "missed"}:
            raise ValueError("a record has scores and missed")
        scores, missed = kept["scores"], kept["missed"]
        if not isinstance(scores, list) or len(scores) > MEMORY:
            raise ValueError(f"scores: must be a list of at most {MEMORY}")
        if not all(_is_score(score) for score in scores):
            raise ValueError("scores: must be pairs of numbers of a sensible size")
        if not (_is_number(missed) and abs(missed) <= 1.0):
            raise ValueError("missed: must be a share")
        return cls(
            deque(((float(early), float(late)) for early, late in scores), maxlen=MEMORY), float(missed)
        )


def _is_score(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(_is_number(score) and abs(score) <= LARGEST_SCORE for score in value)
    )


def _at_level(scores: Floats, level: float) -> float:
    """The score that such a share of them doesn't exceed, in a finite sample; ``scores`` are sorted."""
    rank = math.ceil((scores.size + 1) * level)
    return float(scores[min(rank, scores.size) - 1])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _scale(made_at: float, at: float) -> float:
    """The scale on which forecasts err alike: the logarithm of the time ahead, linear below ten seconds."""
    return math.log(SHORT_SECONDS + max(0.0, at - made_at))


def _unscale(made_at: float, scaled: float) -> float:
    return made_at + math.exp(min(scaled, 30.0)) - SHORT_SECONDS
