"""Circuits as they are posted: QPY in base64, or OpenQASM 3 text."""

from __future__ import annotations

import io
import re
import struct
import warnings
from typing import TYPE_CHECKING, Any

from ketline.programs.boxes import unboxed
from ketline.programs.failures import unreadable
from ketline.programs.recurring import Memory, circuit_bytes, key_of
from ketline.programs.wire.unpack import Budget
from ketline.units.errors import JobError

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

OLDEST_QPY = 13
"""Versions before 13 hold expressions as text that readers evaluate (CVE-2025-2000); clients write 13 on."""
MAX_QUBITS = 10_000
MAX_CLBITS = 1_000_000
MAX_CIRCUITS = 1_000_000
MAX_TEXT = 20_000_000

_FILE = struct.Struct("!6sBBBBQ1c")
_CIRCUIT = struct.Struct("!H1cHIIQIQI")
_SIZES = re.compile(r"(?:\[\s*|\$)(\d{5,})")
_INCLUDE = re.compile(r"\binclude\s*([\"'])(.*?)\1", re.DOTALL)


def load_qpy(raw: bytes | bytearray, field: str, *, count: int | None = None) -> list[QuantumCircuit]:
    """The circuits of a QPY file; samplomatic's annotations are understood.

    Raises:
        JobError: an unsupported version, a header that lies, or bytes that aren't QPY.
    """
    from ibm_quantum_schemas.common.qpy import ANNOTATION_FACTORIES
    from qiskit import qpy

    check_qpy_header(raw, field, count)
    return guarded(
        lambda: list(qpy.load(io.BytesIO(raw), annotation_factories=ANNOTATION_FACTORIES)), field, "QPY"
    )


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
    for match in _SIZES.finditer(text):
        if int(match[1][:12]) > MAX_QUBITS:
            raise unreadable(field, f"a size of {match[1][:20]} isn't possible.")
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
        circuit = guarded(lambda: unboxed(boxed, field), field, "a circuit")
        return circuit, before - budget.left

    kind = value.get("__type__") if isinstance(value, dict) else "text"
    place = None if key is None else ("circuit", str(kind), key)
    circuit, size = memory.get(place, make, lambda made: circuit_bytes(made[0]) + 4 * made[1])
    budget.left = before
    budget.take(size, field)
    return circuit, key


def check_qpy_header(raw: bytes | bytearray, field: str, count: int | None) -> None:
    """Refuse QPY of an unsupported version, or whose headers announce what can't be there."""
    from qiskit.qpy import QPY_VERSION

    if len(raw) < _FILE.size + 1 or raw[:6] != b"QISKIT":
        raise unreadable(field, "not QPY.")
    _, version, _, _, _, programs, _ = _FILE.unpack_from(raw)
    if not OLDEST_QPY <= version <= QPY_VERSION:
        raise unreadable(
            field,
            f"QPY version {version} isn't supported; versions {OLDEST_QPY} to {QPY_VERSION} are.",
            "Use a client whose Qiskit writes a supported version.",
        )
    if raw[_FILE.size : _FILE.size + 1] != b"q":
        raise unreadable(field, "QPY that doesn't hold circuits.")
    if not 1 <= programs <= min(MAX_CIRCUITS, len(raw) // _CIRCUIT.size + 1):
        raise unreadable(field, f"a header of {programs} circuits can't be true.")
    if count is not None and programs != count:
        raise unreadable(field, f"{programs} circuits instead of {count}.")
    place = _FILE.size + 1
    if version >= 16:
        table = struct.unpack_from(f"!{programs}Q", raw, place) if len(raw) >= place + 8 * programs else ()
        places = list(table) or [len(raw)]
    else:
        places = [place]
    for offset in places:
        if offset + _CIRCUIT.size > len(raw):
            raise unreadable(field, "the QPY is cut short.")
        header = _CIRCUIT.unpack_from(raw, offset)
        qubits, clbits, metadata, registers, instructions, variables = header[3:9]
        if qubits > MAX_QUBITS or clbits > MAX_CLBITS:
            raise unreadable(field, f"a circuit of {qubits} qubits and {clbits} bits isn't possible.")
        if max(metadata, registers, instructions, variables) > len(raw):
            raise unreadable(field, "a circuit's header announces more than there is.")


def guarded(load: Any, field: str, kind: str) -> Any:
    """Run a reader that isn't ours: whatever it throws at bad input is the input's fault."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return load()
    except (KeyboardInterrupt, SystemExit, GeneratorExit, JobError):
        raise
    except MemoryError:
        raise unreadable(field, f"this {kind} takes more memory than there is.") from None
    except BaseException as error:  # noqa: BLE001 - a panic in Qiskit's Rust code isn't an Exception
        raise unreadable(field, f"not {kind}: {type(error).__name__}: {str(error)[:300]}") from None
