"""What admission found out about circuits, for as long as they are kept by whoever keeps them.

A tenant's memory (`ketline.programs.recurring`) hands out the same circuit object again when the same circuit
is posted again, and nobody else ever gets that object. What is known of it is known by its identity, so it
is shared by nobody else either and goes when the circuit goes.
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ketline.qpus.binding import EXPRESSION
from ketline.units.packing import PackedItem

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

    from ketline.qpus.items import ReadyItem
    from ketline.qpus.parts import Part
    from ketline.units.work import WorkItem, WorkUnit


@dataclass(frozen=True, slots=True)
class Found:
    """What an item takes: seconds and bytes of its simulation, its methods, seconds of a shot on the QPU."""

    simulation_seconds: float
    memory_bytes: float
    methods: str
    shot_seconds: float

    @classmethod
    def of(cls, ready: ReadyItem) -> Found:
        """What was found of an item that was made ready."""
        return cls(float(ready.simulation_seconds), ready.memory_bytes, ready.methods, ready.shot_seconds)


class Recall:
    """What is known of circuits on one device, by how they are run."""

    def __init__(self) -> None:
        self._known: dict[int, dict[Hashable, Found]] = {}

    def unit(self, unit: WorkUnit, memory_bytes: int) -> list[Found] | None:
        """What is known of every item of a unit; None if something isn't."""
        if unit.simulator:
            return None
        found = []
        for item in unit.items:
            if isinstance(item, PackedItem):  # another circuit each time
                return None
            of_circuit = self._known.get(id(item.circuit))
            one = None if of_circuit is None else of_circuit.get(_how(unit, item, memory_bytes))
            if one is None:
                return None
            found.append(one)
        return found

    def keep(self, unit: WorkUnit, ready: ReadyItem, memory_bytes: int) -> Found:
        """Keep what was found of an item, unless it depends on the values of parameters or a noise model."""
        found = Found.of(ready)
        passing = unit.simulator or isinstance(ready.item, PackedItem)
        if not passing and all(part.bundle is not None and _plain(part) for part in ready.parts):
            circuit = ready.item.circuit
            self._of(circuit)[_how(unit, ready.item, memory_bytes)] = found
        return found

    def _of(self, circuit: QuantumCircuit) -> dict[Hashable, Found]:
        known = self._known.get(id(circuit))
        if known is None:
            known = self._known[id(circuit)] = {}
            # Before the number can become another object's.
            weakref.finalize(circuit, self._known.pop, id(circuit), None).atexit = False
        return known


def _plain(part: Part) -> bool:
    """Whether no angle is made of parameters: with other values it might be none."""
    return not any(parameter.name.startswith(EXPRESSION) for parameter in part.reduced.circuit.parameters)


def _how(unit: WorkUnit, item: WorkItem, memory_bytes: int) -> Hashable:
    return (
        len(item.parameter_values), item.shots, unit.init_qubits, unit.rep_delay_seconds, unit.noise,
        unit.idle_noise, unit.meas_level, unit.allow_approximation, memory_bytes,
    )  # fmt: skip
