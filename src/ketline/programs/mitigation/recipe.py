"""How one pub is estimated: techniques and sizes, every default filled in."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit

from ketline.programs.mitigation.layers import LayerNoise
from ketline.programs.mitigation.twirling import Sizes, Strategy

if TYPE_CHECKING:
    from qiskit.primitives.containers.observables_array import ObservablesArray

Amplifier = Literal["gate_folding", "gate_folding_front", "gate_folding_back", "pea"]


@dataclass(frozen=True, slots=True)
class Zne:
    """Options of zero-noise extrapolation, resolved.

    ``extrapolated_noise_factors`` None means 0 and all factors.
    """

    noise_factors: tuple[float, ...] = (1.0, 3.0, 5.0)
    amplifier: Amplifier = "gate_folding"
    extrapolators: tuple[str, ...] = ("exponential", "linear")
    extrapolated_noise_factors: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Pec:
    """Options of probabilistic error cancellation (see `pec.plan_cancellation`)."""

    max_overhead: float | None = 100.0
    noise_gain: float | Literal["auto"] = "auto"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one pub is estimated.

    ``sizes``: randomisations, and shots of each; one randomisation without twirling. PEC multiplies the
    randomisations. ``noises``: what is known of layers, for PEC and for ZNE with PEA, which both twirl gates
    whatever ``twirl_gates`` says. ``decouple`` is applied to every circuit before it is run, with the key by
    which the tenant's memory knows it (None: it doesn't). ``max_sets``: parameter sets of all circuits of
    the pub; more are refused before they are drawn.
    """

    sizes: Sizes
    twirl_gates: bool = False
    twirl_measures: bool = False
    strategy: Strategy = "active-accum"
    zne: Zne | None = None
    pec: Pec | None = None
    noises: tuple[LayerNoise, ...] = ()
    decouple: Callable[[QuantumCircuit, Hashable | None], QuantumCircuit] | None = None
    max_sets: int = 10_000_000

    @property
    def injects(self) -> bool:
        """Whether noise is injected, for which it must be known."""
        return self.pec is not None or (self.zne is not None and self.zne.amplifier == "pea")


@dataclass(frozen=True, slots=True)
class Pub:
    """A circuit on physical qubits, observables as wide as it, and points ``(*shape, n_parameters)``.

    ``key`` tells the circuit from others in the tenant's memory; None keeps nothing of it.
    """

    circuit: QuantumCircuit
    observables: ObservablesArray
    points: NDArray[np.float64]
    key: Hashable | None = None
