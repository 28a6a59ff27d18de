"""Conformal correction: forecasts are made wider, or narrower, as earlier ones compare with what came true.

Source: Y. Romano, E. Patterson, E. Candès, "Conformalized Quantile Regression" (2019).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ketline.planning.statistics import Interval

MEMORY = 400
ADAPTION = 0.03
SHORT_SECONDS = 10.0
LARGEST_SCORE = 30.0
"""No time is off by more on the scale of scores: that would be longer than the age of the universe."""


@dataclass(slots=True)
class Record:
    """How past intervals compare with what came true: the scores of conformal correction.

    ``missed`` is how much more often than stated the truth fell outside lately; it is made good by asking
    for more than the stated coverage while bursts last (I. Gibbs, E. Candès, "Adaptive Conformal Inference
    Under Distribution Shift", 2021).
    """

    scores: deque[float] = field(default_factory=lambda: deque(maxlen=MEMORY))
    missed: float = 0.0

    def add(self, made_at: float, interval: Interval, truth: float) -> None:
        """Take in an uncorrected interval and the time that came true."""
        outside = truth not in self.correct(made_at, interval)
        allowed = 1.0 - interval.coverage
        self.missed = min(allowed, max(-allowed, self.missed + ADAPTION * (outside - allowed)))
        early, late = (_scale(made_at, at) for at in (interval.low, interval.high))
        came = _scale(made_at, truth)
        self.scores.append(max(early - came, came - late))

    def correct(self, made_at: float, interval: Interval) -> Interval:
        """The interval, widened or narrowed so that past ones would have had the coverage it states."""
        count = len(self.scores)
        if count < 20:
            return interval
        level = min(1.0, math.ceil((count + 1) * (interval.coverage + self.missed)) / count)
        shift = float(np.quantile(np.array(self.scores), level, method="higher"))
        low = _unscale(made_at, _scale(made_at, interval.low) - shift)
        high = _unscale(made_at, _scale(made_at, interval.high) + shift)
        low = min(max(made_at, low), interval.middle)
        return replace(interval, low=low, high=max(high, interval.middle))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"scores": [round(score, 4) for score in self.scores], "missed": round(self.missed, 6)}

    @classmethod
    def from_dict(cls, kept: Any) -> Record:
        """The record that `as_dict` told; `ValueError` for anything else."""
        if not isinstance(kept, dict) or set(kept) != {"scores", "missed"}:
            raise ValueError("a record has scores and missed")
        scores, missed = kept["scores"], kept["missed"]
        if not isinstance(scores, list) or len(scores) > MEMORY:
            raise ValueError(f"scores: must be a list of at most {MEMORY}")
        if not all(_is_number(score) and abs(score) <= LARGEST_SCORE for score in scores):
            raise ValueError("scores: must be numbers of a sensible size")
        if not (_is_number(missed) and abs(missed) <= 1.0):
            raise ValueError("missed: must be a share")
        return cls(deque(map(float, scores), maxlen=MEMORY), float(missed))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _scale(made_at: float, at: float) -> float:
    """The scale on which forecasts err alike: the logarithm of the time ahead, linear below ten seconds."""
    return math.log(SHORT_SECONDS + max(0.0, at - made_at))


def _unscale(made_at: float, scaled: float) -> float:
    return made_at + math.exp(min(scaled, 30.0)) - SHORT_SECONDS
