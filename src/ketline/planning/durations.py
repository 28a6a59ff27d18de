"""How long jobs take: the formula's estimate, corrected by what this QPU's jobs really took.

Three times of a job are modelled, each per (program, QPU): preparing, on the QPU, finalizing. The logarithm
of the QPU time over its estimate (and the logarithm of the classical times as they are) is taken as normal
with unknown mean and variance under a normal-inverse-gamma prior, so that few observations pull the
prediction only a little and the predictive distribution is Student's t. Old observations fade.
Source: K. Murphy, "Conjugate Bayesian analysis of the Gaussian distribution" (2007), section 6.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

SMALLEST = 1e-300

Floats = NDArray[np.float64]

SHORTEST_SECONDS = 1e-4


class Part(StrEnum):
    """The parts of a job's running time."""

    PREPARE = "prepare"
    QPU = "qpu"
    FINALIZE = "finalize"


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed before any job was seen: ``weight`` observations of mean ``mean``, spread ``sigma``.

    For the QPU time they are of the logarithm of truth over estimate, for the others of the logarithm of
    the seconds.
    """

    mean: float
    sigma: float
    weight: float = 4.0


DEFAULT_PRIORS: dict[Part, Prior] = {
    Part.PREPARE: Prior(math.log(1.0), 0.8),
    Part.QPU: Prior(0.0, 0.25),
    Part.FINALIZE: Prior(math.log(0.5), 0.8),
}
"""Preparing takes about a second, the formula is off by about a quarter, finalizing takes half a second."""

UNKNOWN_ESTIMATE = Prior(math.log(5.0), 1.2)
"""QPU seconds of a job of which nothing is known yet."""


@dataclass(slots=True)
class Moments:
    """Count, mean and sum of squared deviations of a stream, older values fading by ``memory`` a value."""

    count: float = 0.0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, value: float, memory: float) -> None:
        """Take in one value."""
        self.count = self.count * memory + 1.0
        self.squares *= memory
        delta = value - self.mean
        self.mean += delta / self.count
        self.squares += delta * (value - self.mean)


@dataclass(frozen=True, slots=True)
class LogT:
    """``exp`` of Student's t: the predictive distribution of a duration (or of a ratio) in log space."""

    location: float
    scale: float
    freedom: float

    def sample(self, rng: np.random.Generator, count: int) -> Floats:
        """``count`` draws, shape ``(count,)``."""
        return np.exp(self.location + self.scale * rng.standard_t(self.freedom, count))

    def quantile(self, probability: float) -> float:
        """The value below which the given share lies."""
        return math.exp(self.location + self.scale * float(stats.t.ppf(probability, self.freedom)))

    def sample_beyond(self, rng: np.random.Generator, elapsed: float) -> float:
        """One draw given that it is larger than ``elapsed``."""
        if elapsed <= 0.0:
            return float(self.sample(rng, 1)[0])
        standard = (math.log(elapsed) - self.location) / self.scale
        tail = float(stats.t.sf(standard, self.freedom))
        if tail <= 1e-12:
            return elapsed * 1.05
        drawn = float(stats.t.isf(tail * (1.0 - rng.random()), self.freedom))
        return max(elapsed, math.exp(self.location + self.scale * drawn))


@dataclass(frozen=True, slots=True)
class Belief:
    """What is known of mean and variance of a logarithm: the normal-inverse-gamma posterior's figures."""

    location: float
    kappa: float
    alpha: float
    beta: float

    def predictive(self) -> LogT:
        """The distribution of the next value."""
        scale = math.sqrt(max(self.beta * (self.kappa + 1.0) / (self.alpha * self.kappa), 1e-8))
        return LogT(self.location, scale, 2.0 * self.alpha)

    def centre(self) -> tuple[float, float]:
        """The most plausible (mean, standard deviation) of the logarithm."""
        return self.location, math.sqrt(max(self.beta / self.alpha, 1e-8))

    def draw(self, rng: np.random.Generator) -> tuple[float, float]:
        """One possible (mean, standard deviation) of the logarithm: what all jobs of a replica share."""
        variance = max(self.beta / float(rng.gamma(self.alpha)), 1e-8)
        return self.location + math.sqrt(variance / self.kappa) * float(rng.standard_normal()), math.sqrt(
            variance
        )


def posterior(prior: Prior, seen: Moments) -> Belief:
    """What is believed after ``seen`` under ``prior``."""
    freedom = max(prior.weight, 3.0)
    kappa = prior.weight + seen.count
    location = (prior.weight * prior.mean + seen.count * seen.mean) / kappa
    shift = prior.weight * seen.count / kappa * (seen.mean - prior.mean) ** 2
    alpha = (freedom + seen.count) / 2.0
    beta = (freedom * prior.sigma**2 + seen.squares + shift) / 2.0
    return Belief(location, kappa, alpha, beta)


def evidence(prior: Prior, seen: Moments) -> float:
    """The logarithm of how likely ``seen`` was under ``prior``, up to what is the same for all priors."""
    freedom = max(prior.weight, 3.0)
    before = Belief(prior.mean, prior.weight, freedom / 2.0, freedom * prior.sigma**2 / 2.0)
    after = posterior(prior, seen)
    return (
        math.lgamma(after.alpha)
        - math.lgamma(before.alpha)
        + before.alpha * math.log(max(before.beta, SMALLEST))
        - after.alpha * math.log(max(after.beta, SMALLEST))
        + 0.5 * math.log(before.kappa / after.kappa)
    )


@dataclass(slots=True)
class DurationModel:
    """Predicts the three times of a job; `observe` teaches it.

    ``memory`` is what remains of an observation's weight after each later one of the same kind (0.995:
    about the last 200 jobs count). A (program, QPU) that was never seen takes what is known of the program
    on all QPUs, at the prior's weight; one that was seen does so for as long as that explains its times
    better than the prior: QPUs of a centre may be as unlike as a machine and its emulator.
    """

    priors: Mapping[Part, Prior] = field(default_factory=lambda: dict(DEFAULT_PRIORS))
    memory: float = 0.995
    _seen: dict[tuple[Part, str, str], Moments] = field(default_factory=dict)
    _pooled: dict[tuple[Part, str], Moments] = field(default_factory=dict)
    _unestimated: dict[str, Moments] = field(default_factory=dict)
    _cache: dict[tuple[str, str, str], Belief] = field(default_factory=dict)

    def observe(
        self,
        program: str,
        qpu_id: str,
        *,
        estimate_seconds: float | None = None,
        prepare_seconds: float | None = None,
        qpu_seconds: float | None = None,
        finalize_seconds: float | None = None,
    ) -> None:
        """Learn from a job; times that are None (it never got so far) teach nothing."""
        if prepare_seconds is not None:
            self._add(Part.PREPARE, program, qpu_id, log_seconds(prepare_seconds))
        if finalize_seconds is not None:
            self._add(Part.FINALIZE, program, qpu_id, log_seconds(finalize_seconds))
        if qpu_seconds is not None:
            self._unestimated.setdefault(program, Moments()).add(log_seconds(qpu_seconds), self.memory)
            if estimate_seconds is not None:
                self._add(Part.QPU, program, qpu_id, log_seconds(qpu_seconds) - log_seconds(estimate_seconds))
        self._cache.clear()

    def predict(self, part: Part, program: str, qpu_id: str, estimate_seconds: float | None = None) -> LogT:
        """The distribution of one of the times, in seconds.

        For `Part.QPU` it is that around ``estimate_seconds``; without an estimate, that of all jobs of the
        program.
        """
        if part is Part.QPU and estimate_seconds is None:
            return self.belief(None, program, qpu_id).predictive()
        known = self.belief(part, program, qpu_id).predictive()
        if part is not Part.QPU or estimate_seconds is None:
            return known
        return LogT(known.location + log_seconds(estimate_seconds), known.scale, known.freedom)

    def belief(self, part: Part | None, program: str, qpu_id: str) -> Belief:
        """What is known of the logarithm of a time; ``part`` None: of the QPU seconds without an estimate."""
        key = ("" if part is None else part.value, program, qpu_id)
        known = self._cache.get(key)
        if known is None:
            if part is None:
                known = posterior(UNKNOWN_ESTIMATE, self._unestimated.get(program, Moments()))
            else:
                known = self._posterior(part, program, qpu_id)
            self._cache[key] = known
        return known

    def _posterior(self, part: Part, program: str, qpu_id: str) -> Belief:
        prior, seen = self.priors[part], self._seen.get((part, program, qpu_id), Moments())
        pooled = self._pooled.get((part, program))
        if pooled is not None:
            everywhere = posterior(prior, pooled).predictive()
            # how QPUs differ isn't known: what the program does elsewhere guesses with the prior's weight
            elsewhere = Prior(everywhere.location, max(everywhere.scale, 1e-3), prior.weight)
            if evidence(elsewhere, seen) >= evidence(prior, seen):
                prior = elsewhere
        return posterior(prior, seen)

    def _add(self, part: Part, program: str, qpu_id: str, value: float) -> None:
        self._seen.setdefault((part, program, qpu_id), Moments()).add(value, self.memory)
        self._pooled.setdefault((part, program), Moments()).add(value, self.memory)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: what is predicted for every (program, QPU) that was seen; times in seconds."""
        rows = []
        for (part, program, qpu_id), seen in sorted(self._seen.items()):
            predicted = self._posterior(part, program, qpu_id).predictive()
            rows.append(
                {
                    "part": part.value,
                    "program": program,
                    "qpu": qpu_id,
                    "weight": seen.count,
                    "median": predicted.quantile(0.5),
                    "p05": predicted.quantile(0.05),
                    "p95": predicted.quantile(0.95),
                }
            )
        return {"durations": rows}


def log_seconds(seconds: float) -> float:
    """The logarithm of a duration; of a tenth of a millisecond for anything shorter."""
    return math.log(max(seconds, SHORTEST_SECONDS))
