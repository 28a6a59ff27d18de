"""Few qubits, exactly and for all parameter sets at once: density matrices as vectors of Pauli expectations.

The state of a component is an array ``(rows, 4, …, 4)``, an axis I X Y Z for each qubit; gates and noise are
real matrices on it. What is read are the joint probabilities of the measured qubits, from which all shots
are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Parameter
from qiskit.quantum_info import Operator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qiskit.circuit import QuantumCircuit

    from ketline.qpus.components import Component

Real = NDArray[np.float64]

TURNING = frozenset({"rz", "rx", "ry", "p", "rzz", "rxx", "ryy", "rzx"})
"""Rotations whose matrices are ``a + b cos(angle) + c sin(angle)``."""

_PAULIS = np.asarray([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
_RESET = np.asarray([[1.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]])
_BLOCK = 4_000_000
_STATE = 500_000
_FEW_OUTCOMES = 8
_LEAST_WEIGHT = 1e-14


@lru_cache(maxsize=4)
def _basis(width: int) -> NDArray[np.complex128]:
    """Paulis on ``width`` qubits, first qubit fastest: shape ``(4**n, 2**n, 2**n)``."""
    found = _PAULIS
    for _ in range(width - 1):
        found = np.einsum("aij,bkl->abikjl", _PAULIS, found).reshape(
            4 * len(found), 2 * found.shape[1], 2 * found.shape[2]
        )
    return np.asarray(found, dtype=np.complex128)


def of_superop(superop: NDArray[Any], width: int) -> Real:
    """The matrix on Pauli expectations of a superoperator on column-stacked density matrices."""
    columns = _basis(width).transpose(0, 2, 1).reshape(4**width, -1).T
    return np.ascontiguousarray((columns.conj().T @ superop @ columns).real / 2**width)


def of_unitary(unitary: NDArray[np.complex128], width: int) -> Real:
    """The matrix on Pauli expectations of a unitary."""
    return of_superop(np.kron(unitary.conj(), unitary), width)


def kraus(transfers: Real, width: int) -> NDArray[np.complex128]:
    """Kraus operators of channels that are given as matrices on Pauli expectations.

    Args:
        transfers: shape ``(n, 4**width, 4**width)``.
        width: qubits.

    Returns:
        Shape ``(n, k, 2**width, 2**width)``: the operators of each channel, orthogonal to each other,
        strongest first. Those that are 0 in all channels are left out, if more than one qubit is acted on.
    """
    size = 2**width
    basis = _basis(width)
    rows = basis.reshape(4**width, -1)
    # E(|a><b|) has elements (x, y); the Choi matrix's indices are (a, x) and (b, y).
    choi = (rows.T @ transfers @ basis.transpose(0, 2, 1).reshape(4**width, -1)) / size
    choi = choi.reshape(-1, size, size, size, size).transpose(0, 3, 1, 4, 2).reshape(-1, size**2, size**2)
    weights, vectors = np.linalg.eigh(choi)
    weights, vectors = weights[:, ::-1], vectors[:, :, ::-1]
    found = np.sqrt(np.clip(weights, 0.0, None))[:, :, None] * vectors.swapaxes(1, 2)
    if width > 1:
        found = found[:, : max(1, int((weights.max(axis=0) > _LEAST_WEIGHT).sum()))]
    return np.asarray(found.reshape(*found.shape[:2], size, size).swapaxes(2, 3))


@lru_cache(maxsize=4096)
def unitary(name: str, params: tuple[float, ...]) -> NDArray[np.complex128]:
    """The unitary of a gate, first qubit lowest."""
    from qiskit.circuit.library import get_standard_gate_name_mapping

    return np.asarray(Operator(get_standard_gate_name_mapping()[name].base_class(*params)).data)


def turned_unitary(name: str, angles: Real) -> NDArray[np.complex128]:
    """The unitaries of a rotation (of `TURNING`, but for ``p``) by each angle."""
    half = angles[:, None, None] / 2
    return np.asarray(np.cos(half) * unitary(name, (0.0,)) + np.sin(half) * unitary(name, (np.pi,)))


@lru_cache(maxsize=4096)
def gate_transfer(name: str, params: tuple[float, ...]) -> Real:
    """The matrix on Pauli expectations of a gate, or of a reset."""
    if name == "reset":
        return _RESET
    matrix = unitary(name, params)
    return of_unitary(matrix, len(matrix).bit_length() - 1)


@lru_cache(maxsize=64)
def _turn(name: str) -> tuple[Real, Real, Real]:
    zero, quarter, half = (gate_transfer(name, (angle,)) for angle in (0.0, np.pi / 2, np.pi))
    even = (zero + half) / 2
    return even, (zero - half) / 2, quarter - even


def turned(name: str, angles: Real) -> Real:
    """The matrices on Pauli expectations of a rotation (of `TURNING`) by each angle."""
    even, cosine, sine = _turn(name)
    own = angles[:, None, None]
    return np.asarray(even + np.cos(own) * cosine + np.sin(own) * sine)


class TransferNoise(Protocol):
    """Noise as matrices on Pauli expectations, on the whole circuit's qubits."""

    def transfer(self, name: str, where: tuple[int, ...]) -> Real | None:
        """What follows an instruction; None for nothing."""
        ...

    def misread(self, qubit: int) -> Real | None:
        """Readout probabilities ``[true, read]``; None for perfect."""
        ...


@dataclass(slots=True)
class _Small:
    """A component as steps: (axes, matrix, None), or (axes, rotation, angles a row).

    ``latest`` is the place of the last step on each axis.
    """

    width: int
    steps: list[tuple[tuple[int, ...], Any, Any]] = field(default_factory=list)
    read: list[int] = field(default_factory=list)
    misread: list[Real | None] = field(default_factory=list)
    turned: bool = False
    latest: dict[int, int] = field(default_factory=dict)

    def then(self, axes: tuple[int, ...], what: Any, angles: Real | None = None) -> None:
        """A step comes next; fixed matrices that follow each other on a qubit become one."""
        place = self.latest.get(axes[0])
        if angles is None and len(axes) == 1 and place is not None:
            before, matrix, old = self.steps[place]
            if before == axes and old is None:
                self.steps[place] = axes, what @ matrix, None
                return
        for axis in axes:
            self.latest[axis] = len(self.steps)
        self.steps.append((axes, what, angles))


class Bundle:
    """Components of few qubits that are simulated together.

    Args:
        circuit: the whole circuit.
        parts: its components of few qubits.
        values: the values of its parameters, one a row.
        noise: its noise.
    """

    def __init__(
        self,
        circuit: QuantumCircuit,
        parts: list[Component],
        values: Mapping[Parameter, Real],
        noise: TransferNoise,
    ) -> None:
        qubits = {qubit: i for i, qubit in enumerate(circuit.qubits)}
        clbits = {bit: i for i, bit in enumerate(circuit.clbits)}
        self.clbits: list[int] = []
        self._small = [self._compile(part, qubits, clbits, values, noise) for part in parts]
        self.turned = any(small.turned for small in self._small)
        self._still: dict[int, Real] = {}

    def _compile(
        self, part: Component, qubits: dict[Any, int], clbits: dict[Any, int],
        values: Mapping[Parameter, Real], noise: TransferNoise,
    ) -> _Small:  # fmt: skip
        axis = {place: i for i, place in enumerate(part.qubits)}
        small = _Small(len(part.qubits))
        reads: dict[int, int] = {}
        follows: dict[tuple[str, tuple[int, ...]], Real | None] = {}
        for instruction in part.instructions:
            where = tuple([qubits[q] for q in instruction.qubits])
            axes = tuple([axis[q] for q in where])
            name = instruction.name
            label = instruction.label if name == "id" and instruction.label else name
            key = (label, where)
            if key not in follows:
                follows[key] = noise.transfer(label, where)
            after = follows[key]
            if name == "measure":
                reads[clbits[instruction.clbits[0]]] = where[0]
            elif name in TURNING:
                angle = instruction.params[0]
                angles = values[angle] if isinstance(angle, Parameter) else np.asarray([float(angle)])
                if len(angles) > 1:
                    small.turned = True
                    small.then(axes, name, angles)
                else:
                    small.then(axes, turned(name, angles)[0])
            elif name != "id":
                matrix = gate_transfer(name, tuple(float(value) for value in instruction.params))
                small.then(axes, matrix if after is None else after @ matrix)
                continue
            if after is not None:
                small.then(axes, after)
        for clbit, qubit in reads.items():
            self.clbits.append(clbit)
            small.read.append(axis[qubit])
            small.misread.append(noise.misread(qubit))
        return small

    @property
    def steps(self) -> int:
        """Matrices that are applied."""
        return sum(len(small.steps) for small in self._small)

    @property
    def row_entries(self) -> int:
        """Entries of states that a row of its own changes."""
        return sum(len(small.steps) * 4**small.width for small in self._small if small.turned)

    def sample(self, first: int, last: int, shots: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Bits of so many shots of the rows ``[first, last)``, in the order of `clbits`.

        Returns:
            Shape ``(last - first, shots, len(clbits))``.
        """
        bits = np.empty((last - first, shots, len(self.clbits)), dtype=np.uint8)
        at = 0
        for place, small in enumerate(self._small):
            cdf = self._still.get(place)
            if cdf is None:
                cdf = np.cumsum(_probabilities(small, first, last), axis=1)
                if not small.turned:
                    self._still[place] = cdf
            step = max(1, _BLOCK // max(1, shots))
            for start in range(0, last - first, step):
                stop = min(last - first, start + step)
                here = cdf[start:stop] if len(cdf) > 1 else cdf
                index = _drawn(here, rng.random((stop - start, shots)))
                for column in range(len(small.read)):
                    bits[start:stop, :, at + column] = (index >> column) & 1
            at += len(small.read)
        return bits


def _drawn(cdf: Real, uniform: Real) -> NDArray[np.uint8]:
    """The outcome that each uniform number falls on; ``cdf`` has a row for each of theirs, or one for all."""
    outcomes = cdf.shape[1]
    if outcomes <= _FEW_OUTCOMES:
        index = np.zeros(uniform.shape, dtype=np.uint8)
        for outcome in range(outcomes - 1):
            index += uniform >= cdf[:, outcome, None]
        return index
    if len(cdf) == 1:
        return np.searchsorted(cdf[0, :-1], uniform, side="right").astype(np.uint8)
    rows = [np.searchsorted(own[:-1], drawn, side="right") for own, drawn in zip(cdf, uniform, strict=True)]
    return np.asarray(rows, dtype=np.uint8)


def _probabilities(small: _Small, first: int, last: int) -> Real:
    """Probabilities of what is read in rows, shape ``(rows, 2 ** reads)``, first read bit lowest.

    One row stands for all where no angle differs from row to row.
    """
    if not small.turned:
        return _evolved(small, 0, 1)
    step = max(1, _STATE // 4**small.width)
    return np.concatenate([_evolved(small, at, min(last, at + step)) for at in range(first, last, step)])


def _evolved(small: _Small, first: int, last: int) -> Real:
    """`_probabilities` in one go."""
    ground: Real = np.asarray([1.0, 0.0, 0.0, 1.0])
    state = ground
    for _ in range(small.width - 1):
        state = np.multiply.outer(state, ground)
    state = state[None]
    for axes, what, angles in small.steps:
        if angles is None:
            state = _apply(state, axes, what)
            continue
        own = angles[first:last] if len(angles) > 1 else angles
        even, cosine, sine = _turn(what)
        shape = (-1, *[1] * small.width)
        state = (
            _apply(state, axes, even)
            + np.cos(own).reshape(shape) * _apply(state, axes, cosine)
            + np.sin(own).reshape(shape) * _apply(state, axes, sine)
        )
    unread = [axis for axis in range(small.width) if axis not in small.read]
    index: list[Any] = [0 if axis in unread else slice(None, None, 3) for axis in range(small.width)]
    index.insert(0, slice(None))
    state = state[tuple(index)]
    kept = [axis for axis in range(small.width) if axis not in unread]
    halves = np.asarray([[0.5, 0.5], [0.5, -0.5]])
    for number, axis in enumerate(kept):
        misread = small.misread[small.read.index(axis)]
        mix = halves if misread is None else misread.T @ halves
        state = np.moveaxis(np.moveaxis(state, number + 1, -1) @ mix.T, -1, number + 1)
    order = [kept.index(axis) + 1 for axis in reversed(small.read)]
    found = np.clip(np.transpose(state, (0, *order)).reshape(len(state), -1), 0.0, None)
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def _apply(state: Real, axes: tuple[int, ...], matrix: Real) -> Real:
    """A matrix on some axes of a state; its own axes are in the order of the instruction's qubits."""
    if state.ndim == 2:
        return np.asarray(state @ matrix.T)
    there, back = _to_end(state.ndim, axes)
    moved = state.transpose(there)
    return (moved.reshape(-1, len(matrix)) @ matrix.T).reshape(moved.shape).transpose(back)


@lru_cache(maxsize=4096)
def _to_end(dimensions: int, axes: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The order of axes that puts an instruction's own last, its first qubit's at the end; and back."""
    own = [axis + 1 for axis in reversed(axes)]
    there = [axis for axis in range(dimensions) if axis not in own] + own
    return tuple(there), tuple(np.argsort(there).tolist())
