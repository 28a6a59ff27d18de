"""Probabilistic error cancellation: injecting the inverse of learned noise, with signs.

    cancellation = plan_cancellation(template.sites, maps, max_overhead=100, noise_gain="auto")
    drawn = template.draw(points, ceil(randomizations * cancellation.scaling), rng, maps=maps,
                          scale=cancellation.scale, …)
    estimate = cancellation.gamma * mean(drawn.signs * value)

The inverse of a Pauli-Lindblad map with rates ``lambda`` is a map with rates ``-lambda``: not a channel, but
Paulis drawn with the same probabilities and a sign each, times ``gamma = exp(2 sum lambda)`` (van den Berg,
Minev, Kandala, Temme, Nature Physics 19, 1116). The variance of the estimate grows by ``gamma**2``, which is
why so many times more randomisations are drawn. A ``noise_gain`` ``g`` leaves that share of the noise:
``scale = g - 1``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from qiskit.quantum_info import PauliLindbladMap

from ketline.programs.mitigation.layers import total_rate
from ketline.programs.mitigation.twirling import NoiseSite


@dataclass(frozen=True, slots=True)
class Cancellation:
    """How much noise is taken away, and at what cost.

    ``scale``: factor on the rates that are injected (-1 cancels all, 0 nothing, more amplifies). ``gamma``:
    what signed results are multiplied with. ``scaling``: factor on the number of randomisations.
    ``noise_overhead``: ``gamma**2`` of cancelling everything; may be infinite.
    """

    scale: float
    gamma: float
    scaling: float
    noise_overhead: float


def plan_cancellation(
    sites: Sequence[NoiseSite],
    maps: Mapping[str, PauliLindbladMap],
    max_overhead: float | None = 100.0,
    noise_gain: float | Literal["auto"] = "auto",
) -> Cancellation:
    """Decide how much of a circuit's noise to cancel.

    Args:
        sites: Every place where noise is; a layer that occurs ``n`` times costs ``n`` times.
        maps: The noise, by `NoiseSite.ref`.
        max_overhead: Largest factor on randomisations; None for no limit.
        noise_gain: Share of the noise that stays (0: none, above 1: it is amplified); auto: as little as
            ``max_overhead`` allows.
    """
    total = sum(total_rate(maps[site.ref]) for site in sites)
    log_overhead = 4.0 * total
    if noise_gain != "auto":
        gain = float(noise_gain)
    elif max_overhead is None:
        gain = 0.0
    else:
        gain = 1.0 if log_overhead <= 0 else 1.0 - math.log(max_overhead) / log_overhead
        gain = min(1.0, max(0.0, gain))
    scale = gain - 1.0
    # Rates that stay positive under the scale need no sign and cost nothing.
    log_gamma = 2.0 * sum(float(-np.minimum(scale * maps[site.ref].rates, 0.0).sum()) for site in sites)
    scaling = _exp(2.0 * log_gamma)
    if max_overhead is not None:
        scaling = min(scaling, max_overhead)
    return Cancellation(scale, _exp(log_gamma), scaling, _exp(log_overhead))


def _exp(exponent: float) -> float:
    return math.exp(exponent) if exponent < 700.0 else math.inf
