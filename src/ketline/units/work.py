"""A unit of work: circuits that a QPU can run as they are, and what came out of running them.

A *program* expands a job into a `WorkUnit` (twirling, measurement bases, folding, … all done); a *QPU
driver* runs it and answers with an `Outcome`; the program turns that into its result. Neither knows more
of the other than these types.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

    from ketline.units.device import Device

MeasLevel = Literal["classified", "kerneled", "avg_kerneled", "both"]


@dataclass(slots=True)
class WorkItem:
    """One circuit, run with each of its parameter sets.

    ``circuit`` is in the device's instruction set on its physical qubits (width of the device, or narrower
    from qubit 0 on). ``parameter_values`` is float64 of shape ``(n_sets, n_parameters)``, columns in the
    order of ``circuit.parameters``; ``n_sets`` is at least 1 even without parameters. Every set is run
    with ``shots`` shots. ``chunk_sets`` asks that so many sets at a time be run as one chunk with a
    timing of its own (None: the driver chooses).
    """

    circuit: QuantumCircuit
    parameter_values: NDArray[np.float64]
    shots: int
    chunk_sets: int | None = None


@dataclass(slots=True)
class WorkUnit:
    """All that one job asks of a QPU.

    The circuits of a large job are packed (`ketline.units.packing`): each item that is taken from ``items``
    opens its own when it is asked for it. Go through the items, and keep no more of them than you need.

    ``rep_delay_seconds`` None means the device's default. ``seed`` None means fresh randomness.
    ``idle_noise`` asks an emulator to simulate the noise of idling qubits as scheduled (delays included).
    ``noise`` False asks an emulator for ideal results. ``mock`` asks for random data of the right shape.
    ``simulator`` holds the client's options of that name: ``noise_model`` (an Aer noise model as a
    dictionary), ``seed_simulator``, ``coupling_map``, ``basis_gates``. ``allow_approximation`` lets an
    emulator replace noise that it can't simulate exactly by the nearest that it can; `Outcome` says so.
    """

    items: Sequence[WorkItem]
    meas_level: MeasLevel = "classified"
    init_qubits: bool = True
    rep_delay_seconds: float | None = None
    seed: int | None = None
    noise: bool = True
    idle_noise: bool = False
    mock: bool = False
    scheduler_timing: bool = False
    stretch_values: bool = False
    simulator: dict[str, object] = field(default_factory=dict)
    allow_approximation: bool = True

    @property
    def executions(self) -> int:
        """Circuits after broadcasting, times shots (``modes.md`` 1.4)."""
        return sum(item.parameter_values.shape[0] * item.shots for item in self.items)

    def pause_seconds(self, device: Device) -> float:
        """Pause between two shots on a device."""
        given = self.rep_delay_seconds
        return device.default_rep_delay_seconds if given is None else given


@dataclass(frozen=True, slots=True)
class Span:
    """What ran when: sets ``[first_set, last_set)`` of item ``item``."""

    item: int
    first_set: int
    last_set: int
    start: datetime
    stop: datetime


@dataclass(slots=True)
class ItemOutcome:
    """What came out of one item.

    ``bits`` maps each classical register to uint8 of shape ``(n_sets, shots, ceil(size / 8))``: big-endian
    bytes as in `qiskit.primitives.BitArray`, clbit 0 the lowest bit of the last byte. ``iq`` maps it to
    complex128 ``(n_sets, shots, size)`` (kerneled, both) or ``(n_sets, size)`` (avg_kerneled).
    ``circuit_duration_seconds`` is the scheduled length of one shot.
    """

    bits: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    iq: dict[str, NDArray[np.complex128]] = field(default_factory=dict)
    circuit_duration_seconds: float | None = None
    timing: str | None = None
    stretch_values: list[dict[str, object]] | None = None


@dataclass(slots=True)
class Outcome:
    """What a QPU gives back for a `WorkUnit`: one entry an item, and the spans in the order of time.

    ``approximations`` says in words what an emulator didn't simulate exactly; empty when nothing.
    """

    items: list[ItemOutcome]
    spans: list[Span]
    approximations: list[str] = field(default_factory=list)
