"""Dynamical decoupling of a job's circuits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ketline.programs.failures import bad_option

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

    from ketline.programs.base import ProgramContext


def decoupled(circuit: QuantumCircuit, options: Any, context: ProgramContext, field: str) -> QuantumCircuit:
    """The circuit, scheduled and with sequences in its idle times.

    Raises:
        JobError: the circuit has control flow, or the device doesn't tell its timing.
    """
    raise bad_option("dynamical_decoupling", "isn't supported yet.", "Turn it off.")
