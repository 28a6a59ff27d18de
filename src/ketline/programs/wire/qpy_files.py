"""QPY as it is posted: refused when its headers lie, and read circuit by circuit as it is unpacked."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ketline.programs.failures import unreadable
from ketline.programs.wire.guard import guarded

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

OLDEST_QPY = 13
"""Versions before 13 hold expressions as text that readers evaluate (CVE-2025-2000); clients write 13 on."""
MAX_QUBITS = 10_000
MAX_CLBITS = 1_000_000
MAX_CIRCUITS = 1_000_000

_FIRST_WITH_TABLE = 16
"""The first version that says where in the file each circuit begins."""
_FILE = struct.Struct("!6sBBBBQ1c")
_CIRCUIT = struct.Struct("!H1cHIIQIQI")
_START = _FILE.size + 1


def load_qpy(raw: bytes | bytearray, field: str, *, count: int | None = None) -> list[QuantumCircuit]:
    """The circuits of a QPY file, without their layouts; samplomatic's annotations are understood.

    Raises:
        JobError: an unsupported version, a header that lies, or bytes that aren't QPY.
    """
    check_qpy_header(raw, field, count)
    return _load(raw, field)


def check_qpy_header(raw: bytes | bytearray, field: str, count: int | None) -> None:
    """Refuse QPY of an unsupported version, or whose headers announce what can't be there."""
    programs = _check_file(raw, field, count)
    places: tuple[int, ...] = (_START,)
    if raw[6] >= _FIRST_WITH_TABLE:
        places = _table(raw[_START : _START + 8 * programs], programs, field)
    for place in places:
        _check_circuit(raw, place, field)


class QpyStream:
    """A QPY file that comes in pieces.

    ``version`` is what its header says; None when there is none.
    """

    def __init__(self, pieces: Iterable[bytes], field: str) -> None:
        self._pieces = iter(pieces)
        self._field = field
        self._ready = bytearray()
        self._at = 0
        self._head = self._take(_START)
        self.version = self._head[6] if len(self._head) > 6 else None

    def circuits(self, count: int) -> Iterator[QuantumCircuit]:
        """The circuits, of which there must be ``count``, each read when it is its turn.

        Versions before 16 don't say where a circuit ends, and are read as a whole.

        Raises:
            JobError: as `load_qpy`.
        """
        field = self._field
        programs = _check_file(self._head, field, count)
        if self._head[6] < _FIRST_WITH_TABLE:
            yield from load_qpy(self._head + self._take(None), field, count=count)
            return
        starts = _table(self._take(8 * programs), programs, field)
        if list(starts) != sorted({*starts}) or starts[0] < self._at:
            raise unreadable(field, "the places of the circuits in the QPY aren't in order.")
        self._take(starts[0] - self._at)
        magic, version, *release, _, encoding = _FILE.unpack_from(self._head)
        kind = self._head[_FILE.size :]
        for start, end in zip(starts, (*starts[1:], None), strict=True):
            one = bytearray(_FILE.pack(magic, version, *release, 1, encoding) + kind)
            one += struct.pack("!Q", _START + 8)
            one += self._take(None if end is None else end - start)
            _check_circuit(one, _START + 8, field)
            yield from _load(one, field)

    def _take(self, count: int | None) -> bytearray:
        """The next so many bytes, or all that are left; fewer only at the end."""
        while count is None or len(self._ready) < count:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._ready += piece
        count = len(self._ready) if count is None else min(count, len(self._ready))
        taken = self._ready[:count]
        del self._ready[:count]
        self._at += count
        return taken


def _load(raw: bytes | bytearray, field: str) -> list[QuantumCircuit]:
    from ibm_quantum_schemas.common.qpy import ANNOTATION_FACTORIES
    from qiskit import qpy

    circuits: list[QuantumCircuit] = guarded(
        lambda: list(qpy.load(io.BytesIO(raw), annotation_factories=ANNOTATION_FACTORIES)), field, "QPY"
    )
    for circuit in circuits:
        # How it came to its qubits is of no use here, and takes more room than a small circuit itself.
        circuit._layout = None  # noqa: SLF001 - Qiskit has no public way
    return circuits


def _table(raw: bytes | bytearray, programs: int, field: str) -> tuple[int, ...]:
    if len(raw) < 8 * programs:
        raise unreadable(field, "the QPY is cut short.")
    return struct.unpack(f"!{programs}Q", raw)


def _check_file(raw: bytes | bytearray, field: str, count: int | None) -> int:
    """Refuse QPY of an unsupported version; how many circuits it announces."""
    from qiskit.qpy import QPY_VERSION

    if len(raw) < _START or raw[:6] != b"QISKIT":
        raise unreadable(field, "not QPY.")
    _, version, _, _, _, programs, _ = _FILE.unpack_from(raw)
    if not OLDEST_QPY <= version <= QPY_VERSION:
        raise unreadable(
            field,
            f"QPY version {version} isn't supported; versions {OLDEST_QPY} to {QPY_VERSION} are.",
            "Use a client whose Qiskit writes a supported version.",
        )
    if raw[_FILE.size : _START] != b"q":
        raise unreadable(field, "QPY that doesn't hold circuits.")
    if count is not None and programs != count:
        raise unreadable(field, f"{programs} circuits instead of {count}.")
    if not 1 <= programs <= MAX_CIRCUITS or (count is None and programs > len(raw) // _CIRCUIT.size + 1):
        raise unreadable(field, f"a header of {programs} circuits can't be true.")
    return int(programs)


def _check_circuit(raw: bytes | bytearray, place: int, field: str) -> None:
    """Refuse a circuit whose header announces what can't be there."""
    if place + _CIRCUIT.size > len(raw):
        raise unreadable(field, "the QPY is cut short.")
    header = _CIRCUIT.unpack_from(raw, place)
    qubits, clbits, metadata, registers, instructions, variables = header[3:9]
    if qubits > MAX_QUBITS or clbits > MAX_CLBITS:
        raise unreadable(field, f"a circuit of {qubits} qubits and {clbits} bits isn't possible.")
    if max(metadata, registers, instructions, variables) > len(raw):
        raise unreadable(field, "a circuit's header announces more than there is.")
