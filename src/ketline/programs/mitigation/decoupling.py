"""Dynamical decoupling: pulses in idle times that undo what a qubit's slow surroundings do to its phase.

    scheduled = decouple(circuit, target, Decoupling(sequence_type="XY4"))

The circuit is scheduled with the device's durations and comes back with explicit delays, so what was done
can be seen in its timing. Sequences, scheduling and padding are those that the client's executor-based
classes use (`qiskit_ibm_runtime.executor.dynamical_decoupling`, Qiskit's ``PadDynamicalDecoupling``).
Templates with free parameters can be decoupled: a gate takes as long at any angle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Literal

from qiskit.circuit import QuantumCircuit
from qiskit.transpiler import PassManager, Target, TranspilerError

from ketline.programs.failures import bad_option, rejected
from ketline.programs.mitigation.circuits import compact, place, used_qubits

_PULSES = ("x", "rz")
"""What the sequences are made of."""


@dataclass(frozen=True, slots=True)
class Decoupling:
    """Options of ``dynamical_decoupling``, as the client names them."""

    sequence_type: Literal["XX", "XpXm", "XY4"] = "XX"
    extra_slack_distribution: Literal["middle", "edges"] = "middle"
    scheduling_method: Literal["alap", "asap"] = "alap"
    skip_reset_qubits: bool = False


def decouple(circuit: QuantumCircuit, target: Target, options: Decoupling) -> QuantumCircuit:
    """Schedule a circuit and fill its idle times with decoupling sequences.

    Args:
        circuit: In the device's instruction set, on physical qubits, with or without free parameters.
        target: The device, with durations.
        options: Which sequence, and how to schedule.

    Returns:
        A circuit of the same width with delays in units of ``dt``. Qubits on which the original does nothing
        stay empty.

    Raises:
        JobError: the circuit has control flow, or the device doesn't tell its timing.
    """
    if circuit.has_control_flow_op():
        raise rejected(
            "dynamical_decoupling",
            "not possible with dynamic circuits (circuits with control flow operations).",
            "Turn dynamical_decoupling.enable off for this circuit.",
        )
    if target.dt is None or not _timed(target):
        raise bad_option("dynamical_decoupling", "this backend doesn't tell how long its gates take.")
    qubits = used_qubits(circuit)
    if not qubits:
        return circuit
    small = compact(circuit, qubits)
    try:
        # On the whole device the passes would look at every qubit, and pad those that do nothing.
        scheduled = _passes(_restricted(target, qubits, small), options).run(small)
    except TranspilerError as error:
        raise rejected("dynamical_decoupling", f"the circuit can't be scheduled: {error}") from None
    return place(scheduled, qubits, circuit.num_qubits)


def _timed(target: Target) -> bool:
    """Whether a device tells how long its pulses take; simulators take no time for any gate."""
    if "x" not in target.operation_names:
        return False
    return any(facts is not None and facts.duration is not None for facts in (target["x"] or {}).values())


def _restricted(target: Target, qubits: Sequence[int], circuit: QuantumCircuit) -> Target:
    """All that scheduling asks of a target, for some qubits, which are numbered as in ``circuit``."""
    small = Target(
        num_qubits=len(qubits),
        dt=target.dt,
        granularity=target.granularity,
        min_length=target.min_length,
        pulse_alignment=target.pulse_alignment,
        acquire_alignment=target.acquire_alignment,
    )
    place_of = {qubit: i for i, qubit in enumerate(qubits)}
    names = {"delay", *_PULSES, *circuit.count_ops()} & set(target.operation_names)
    for name in sorted(names):
        facts = target[name]
        found = {
            tuple(place_of[qubit] for qubit in place): facts[place]
            for place in (facts or {})
            if place is not None and place_of.keys() >= set(place)
        }
        if found:
            small.add_instruction(target.operation_from_name(name), found, name=name)
    return small


def _passes(target: Target, options: Decoupling) -> PassManager:
    from qiskit_ibm_runtime.executor.dynamical_decoupling import generate_dd_pass_manager

    made: PassManager = generate_dd_pass_manager(SimpleNamespace(target=target), options)
    return made
