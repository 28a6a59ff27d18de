"""Dynamical decoupling of a job's circuits, as its options ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ketline.programs.mitigation.decoupling import Decoupling, decouple
from ketline.programs.wire.circuits import guarded

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

    from ketline.programs.base import ProgramContext


def decoupled(circuit: QuantumCircuit, options: Any, context: ProgramContext, field: str) -> QuantumCircuit:
    """The circuit, scheduled and with sequences in its idle times.

    ``options`` are the published model's ``dynamical_decoupling``; ``field`` names the circuit in messages.

    Raises:
        JobError: the circuit has control flow, or the device doesn't tell its timing.
    """
    chosen = Decoupling(
        options.sequence_type,
        options.extra_slack_distribution,
        options.scheduling_method,
        options.skip_reset_qubits,
    )
    made: QuantumCircuit = guarded(
        lambda: decouple(circuit, context.device.target, chosen), field, "a circuit that can be scheduled"
    )
    return made
