"""Dynamical decoupling of a job's circuits, as its options ask for it."""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from ketline.programs.mitigation.decoupling import Decoupling, decouple
from ketline.programs.wire.guard import guarded
from ketline.units.packing import circuit_bytes

if TYPE_CHECKING:
    from collections.abc import Hashable

    from qiskit.circuit import QuantumCircuit

    from ketline.programs.base import ProgramContext


class Decouple:
    """Schedules circuits and puts sequences in their idle times.

    ``options`` are the published model's ``dynamical_decoupling``; ``field`` names the circuit in messages.
    """

    def __init__(self, options: Any, context: ProgramContext, field: str) -> None:
        self._options = Decoupling(
            options.sequence_type,
            options.extra_slack_distribution,
            options.scheduling_method,
            options.skip_reset_qubits,
        )
        self._context = context
        self._field = field

    def __call__(self, circuit: QuantumCircuit, key: Hashable | None) -> QuantumCircuit:
        """The decoupled circuit; once for each ``key``, unless that is None.

        Raises:
            JobError: the circuit has control flow, or the device doesn't tell its timing.
        """

        def make() -> QuantumCircuit:
            made: QuantumCircuit = guarded(
                lambda: decouple(circuit, self._context.device.target, self._options),
                self._field,
                "a circuit that can be scheduled",
            )
            return made

        place = None
        if key is not None:
            place = ("decoupled", key, astuple(self._options), self._context.device_key)
        return self._context.memory.get(place, make, circuit_bytes)
