"""Circuits as they are posted: QPY in base64, or OpenQASM 3 text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ketline.programs.boxes import unboxed
from ketline.programs.failures import unreadable
from ketline.programs.recurring import Memory, key_of
from ketline.programs.wire.guard import guarded
from ketline.programs.wire.qasm3_text import check_qasm3
from ketline.programs.wire.qpy_files import load_qpy
from ketline.programs.wire.unpack import Budget
from ketline.units.packing import circuit_bytes

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

MAX_TEXT = 20_000_000

_INCLUDE = re.compile(r"\binclude\s*([\"'])(.*?)\1", re.DOTALL)


def load_qasm3(text: object, field: str) -> QuantumCircuit:
    """A circuit from OpenQASM 3 text; ``$n`` is the device's qubit n.

    Raises:
        JobError: it can't be parsed, or asks for absurd sizes or files.
    """
    from ibm_quantum_schemas.common.qasm import ANNOTATION_FACTORIES
    from qiskit import qasm3

    if not isinstance(text, str):
        raise unreadable(field, f"{type(text).__name__} instead of OpenQASM 3 text.")
    if len(text) > MAX_TEXT:
        raise unreadable(field, f"OpenQASM text of more than {MAX_TEXT:,} characters.", "Post QPY instead.")
    check_qasm3(text, field)
    for match in _INCLUDE.finditer(text):
        if match[2] != "stdgates.inc":
            raise unreadable(field, f"include {match[2][:80]!r}: only stdgates.inc can be included.")
    circuit: QuantumCircuit = guarded(
        lambda: qasm3.loads(text, annotation_handlers=ANNOTATION_FACTORIES), field, "OpenQASM 3"
    )
    return circuit


def read_circuit(value: object, budget: Budget, field: str) -> QuantumCircuit:
    """A circuit of a PUB: ``{"__type__": "QuantumCircuit", ...}`` or OpenQASM 3 text.

    Raises:
        JobError: it is neither.
    """
    if isinstance(value, str):
        return load_qasm3(value, field)
    if not isinstance(value, dict) or value.get("__type__") != "QuantumCircuit" or "__value__" not in value:
        raise unreadable(field, "neither an encoded QuantumCircuit nor OpenQASM 3 text.")
    return load_qpy(budget.inflate(value["__value__"], field), field, count=1)[0]


def recurring_circuit(
    value: object, budget: Budget, memory: Memory, field: str
) -> tuple[QuantumCircuit, bytes | None]:
    """A circuit to be run, once for each text; and the key by which what is made of it can be kept.

    It is read by `read_circuit`, and `unboxed`.

    Raises:
        JobError: it can't be read, or it would exceed the budget if it were unpacked again.
    """
    text = value.get("__value__") if isinstance(value, dict) else value
    key = key_of(text) if isinstance(text, str) else None
    before = budget.left

    def make() -> tuple[QuantumCircuit, int]:
        boxed = read_circuit(value, budget, field)
        circuit: QuantumCircuit = guarded(lambda: unboxed(boxed, field), field, "a circuit")
        return circuit, before - budget.left

    kind = value.get("__type__") if isinstance(value, dict) else "text"
    place = None if key is None else ("circuit", str(kind), key)
    circuit, size = memory.get(place, make, lambda made: circuit_bytes(made[0]) + 4 * made[1])
    budget.left = before
    budget.take(size, field)
    return circuit, key
