"""Noisy circuits whose measurements come last, by trajectories that are shared for as long as they are alike.

Few things go wrong in a shot on a device: most shots see the same, hardly damped, states of a circuit. So a
*branch* is a state and the number of shots that have come to it. At each step a binomial draw tells how many
of a branch's shots may have an event; the others go on together with the dominant Kraus operator. What
becomes of a candidate is drawn from the probabilities in its branch's state: it begins a branch of its own,
or stays in the old one when nothing happened. That samples the channels exactly. The branches of all
parameter sets are rows of one array.

All that happens to a qubit between two gates on pairs is one channel, and is done together with the next
such gate: a circuit has as many steps as it has gates on pairs, and one for every two qubits at its end.
States are single precision: probabilities are off by a millionth of themselves or so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Parameter

from ketline.qpus.transfer import (
    TURNING,
    Real,
    TransferNoise,
    gate_transfer,
    kraus,
    turned,
    turned_unitary,
    unitary,
)

if TYPE_CHECKING:
    from qiskit.circuit import CircuitInstruction, QuantumCircuit

Complex = NDArray[np.complex128]
States = NDArray[np.complex64]
Turn = tuple[str, Real]
"""A rotation and its angles: one a row, or one for all."""

_AMPLITUDES = 1 << 21
_LEAST_BRANCHES = 4
_MOST_BRANCHES = 4096
_OPERATOR_BYTES = 64_000_000
_STEP_BYTES = 1_000
_NORMALISED = 32
_SLACK = 1e-9
_STILL: Complex = np.eye(4, dtype=np.complex128)


def _own(array: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    """The entries of rows; a single entry stands for all."""
    return array[rows] if len(array) > 1 else array


def _angles(turn: Turn, first: int, last: int) -> Real:
    return turn[1][first:last] if len(turn[1]) > 1 else turn[1]


@dataclass(slots=True)
class _Chain:
    """What happens to one qubit between two steps: matrices on Pauli expectations, and rotations."""

    factors: list[Real | Turn] = field(default_factory=list)

    def then(self, factor: Real | Turn) -> None:
        """A factor comes next."""
        last = self.factors[-1] if self.factors else None
        if isinstance(last, np.ndarray) and isinstance(factor, np.ndarray):
            self.factors[-1] = factor @ last
        else:
            self.factors.append(factor)

    def operators(self, first: int, last: int) -> Complex:
        """Kraus operators in rows, strongest first; shape ``(rows or 1, 4, 2, 2)``."""
        whole: Real = np.eye(4)[None]
        for factor in self.factors:
            if isinstance(factor, tuple):
                whole = turned(factor[0], _angles(factor, first, last)) @ whole
            else:
                whole = factor @ whole
        return kraus(whole, 1)


@dataclass(slots=True)
class _Operators:
    """A step in some rows; every array has an entry a row, or one for all.

    ``low`` and ``high`` are Kraus operators on the first and the second qubit, ``gated`` those of the gate
    and its noise after them. ``quiet`` is the dominant product; ``most`` bounds the probability of any other.
    """

    low: Complex
    high: Complex
    gated: Complex
    quiet: States
    most: Real

    def before(self, rows: NDArray[np.int64]) -> Complex:
        """Products of the operators on either qubit, shape ``(len(rows) or 1, 16, 4, 4)``."""
        low, high = _own(self.low, rows), _own(self.high, rows)
        both = high[:, :, None, :, None, :, None] * low[:, None, :, None, :, None, :]
        return both.reshape(len(both), -1, 4, 4)


@dataclass(slots=True)
class _Step:
    """A gate on a pair, with what came before it on either qubit and its noise (Kraus operators).

    ``gate`` is a unitary or a rotation; None only brings the two qubits to their ends.
    """

    pair: tuple[int, int]
    chains: tuple[_Chain, _Chain]
    gate: Complex | Turn
    noise: Complex

    def operators(self, first: int, last: int) -> _Operators:
        """The step in the rows ``[first, last)``."""
        low, high = (chain.operators(first, last) for chain in self.chains)
        if isinstance(self.gate, tuple):
            gates = turned_unitary(self.gate[0], _angles(self.gate, first, last))
        else:
            gates = self.gate[None]
        gated = self.noise @ gates[:, None]
        before = high[:, 0, :, None, :, None] * low[:, 0, None, :, None, :]
        quiet = gated[:, 0] @ before.reshape(-1, 4, 4)
        least = np.linalg.eigvalsh(quiet.conj().swapaxes(1, 2) @ quiet)[:, 0]
        most = np.clip(1 - least + _SLACK, 0.0, 1.0)
        return _Operators(low, high, gated, quiet.astype(np.complex64), most)


@dataclass(slots=True)
class _Batch:
    """Branches: states as rows, the row of the parameters that each follows, and its shots.

    ``order`` are the qubits of the states' bits, most significant first.
    """

    states: States
    rows: NDArray[np.int64]
    shots: NDArray[np.int64]
    order: list[int]

    def facing(self, pair: tuple[int, int]) -> States:
        """Bring two qubits to the front, the second before the first: shape ``(n, 4, 2 ** (width - 2))``."""
        width = len(self.order)
        axes = [self.order.index(pair[1]), self.order.index(pair[0])]
        axes += [axis for axis in range(width) if axis not in axes]
        self.order = [self.order[axis] for axis in axes]
        shaped = self.states.reshape(-1, *[2] * width)
        return shaped.transpose(0, *[axis + 1 for axis in axes]).reshape(len(self.states), 4, -1)

    def halved(self) -> _Batch:
        """Give away the branches with the most shots, which beget the most branches."""
        ranked = np.argsort(self.shots, kind="stable")
        kept, given = np.array_split(ranked, 2)
        heavy = _Batch(self.states[given], self.rows[given], self.shots[given], list(self.order))
        self.states, self.rows, self.shots = self.states[kept], self.rows[kept], self.shots[kept]
        return heavy


@dataclass(frozen=True, slots=True)
class _Events:
    """New branches: their states, and the branches that they come from."""

    states: States
    parents: NDArray[np.int64]
    shots: NDArray[np.int64]


class Trajectories:
    """A noisy circuit without control flow and resets, whose measurements come last.

    Args:
        circuit: the circuit on the qubits that it touches, with gates on one or two of them.
        values: the values of its parameters, one a row.
        noise: its noise.
    """

    def __init__(
        self, circuit: QuantumCircuit, values: Mapping[Parameter, Real], noise: TransferNoise
    ) -> None:
        self.width = max(2, circuit.num_qubits)
        self.steps: list[_Step] = []
        self.clbits: list[int] = []
        self._read: list[tuple[int, Real | None]] = []
        places = {qubit: i for i, qubit in enumerate(circuit.qubits)}
        clbits = {bit: i for i, bit in enumerate(circuit.clbits)}
        chains: dict[int, _Chain] = {}
        for instruction in circuit.data:
            where = tuple([places[q] for q in instruction.qubits])
            name = instruction.name
            after = noise.transfer(instruction.label if name == "id" and instruction.label else name, where)
            if name == "measure":
                self.clbits.append(clbits[instruction.clbits[0]])
                self._read.append((where[0], noise.misread(where[0])))
            elif len(where) == 2:
                before = chains.pop(where[0], _Chain()), chains.pop(where[1], _Chain())
                gate = _turn(instruction, values) or unitary(name, _numbers(instruction))
                noisy: Complex = (
                    np.eye(4, dtype=np.complex128)[None] if after is None else kraus(after[None], 2)[0]
                )
                self.steps.append(_Step((where[0], where[1]), before, gate, noisy))
                continue
            elif name != "id":
                own = _turn(instruction, values) or gate_transfer(name, _numbers(instruction))
                chains.setdefault(where[0], _Chain()).then(own)
            if after is not None:
                chains.setdefault(where[0], _Chain()).then(after)
        self._end(chains)

    def _end(self, chains: dict[int, _Chain]) -> None:
        """Steps for what comes after the last gates on pairs, on two qubits that are read at a time."""
        read = {qubit for qubit, _ in self._read}
        left = [qubit for qubit in chains if qubit in read]
        if len(left) % 2:
            idle = next(qubit for qubit in range(self.width) if qubit != left[-1])
            self.steps.append(_Step((left[-1], idle), (chains[left.pop()], _Chain()), _STILL, _STILL[None]))
        for low, high in zip(left[::2], left[1::2], strict=True):
            self.steps.append(_Step((low, high), (chains[low], chains[high]), _STILL, _STILL[None]))

    def sample(self, first: int, last: int, shots: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Bits of so many shots of the rows ``[first, last)``, in the order of `clbits`.

        Returns:
            Shape ``(last - first, shots, len(clbits))``.
        """
        bits = np.empty((last - first, shots, len(self.clbits)), dtype=np.uint8)
        most = max(1, _OPERATOR_BYTES // (_STEP_BYTES * max(1, len(self.steps))))
        step = max(1, min(most, self._branches() // 2))
        for start in range(first, last, step):
            stop = min(last, start + step)
            ends = list(self._ends(start, stop, shots, rng))
            rows = np.concatenate([rows for rows, _ in ends])
            seen = np.concatenate([seen for _, seen in ends])
            # The shots of a row are put into random order, for branches come one after the other.
            seen = seen[np.lexsort((rng.random(len(rows)), rows))].reshape(stop - start, shots)
            for column, (qubit, misread) in enumerate(self._read):
                true = (seen >> qubit) & 1
                if misread is not None:
                    true ^= rng.random(true.shape) < np.where(true, misread[1, 0], misread[0, 1])
                bits[start - first : stop - first, :, column] = true
        return bits

    def _branches(self) -> int:
        """How many branches one array may hold."""
        return min(_MOST_BRANCHES, max(_LEAST_BRANCHES, _AMPLITUDES >> self.width))

    def _ends(
        self, first: int, last: int, shots: int, rng: np.random.Generator
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Rows, from 0, and true values of all qubits, as numbers, of all shots."""
        count = last - first
        steps = [step.operators(first, last) for step in self.steps]
        ground = np.zeros((count, 2**self.width), dtype=np.complex64)
        ground[:, 0] = 1.0
        start = _Batch(
            ground, np.arange(count), np.full(count, shots), list(reversed(range(self.width)))
        )  # fmt: skip
        most = self._branches()
        waiting = [(0, start)]
        while waiting:
            at, batch = waiting.pop()
            for place in range(at, len(steps)):
                _advance(batch, self.steps[place].pair, steps[place], rng)
                if place % _NORMALISED == _NORMALISED - 1:
                    batch.states /= np.linalg.norm(batch.states, axis=1, keepdims=True)
                if len(batch.states) > most:
                    waiting.append((place + 1, batch.halved()))
            yield _read(batch, rng)


def _turn(instruction: CircuitInstruction, values: Mapping[Parameter, Real]) -> Turn | None:
    """A rotation whose angle is a parameter."""
    if instruction.name not in TURNING or not isinstance(instruction.params[0], Parameter):
        return None
    return instruction.name, values[instruction.params[0]]


def _numbers(instruction: CircuitInstruction) -> tuple[float, ...]:
    return tuple(float(value) for value in instruction.params)


def _advance(batch: _Batch, pair: tuple[int, int], step: _Operators, rng: np.random.Generator) -> None:
    """Take a batch through a step; new branches join it."""
    facing = batch.facing(pair)
    events = _events(batch, facing, step, rng)
    quiet = _own(step.quiet, batch.rows)
    if events is None:
        batch.states = np.matmul(quiet, facing).reshape(len(facing), -1)
        return
    # A branch that all shots have left makes room for a new one.
    empty = np.flatnonzero(batch.shots == 0)
    old = len(empty)
    made = np.empty((len(facing) + len(events.shots) - old, *facing.shape[1:]), dtype=np.complex64)
    np.matmul(quiet, facing, out=made[: len(facing)])
    rows = batch.rows[events.parents]
    made[empty], made[len(facing) :] = events.states[:old], events.states[old:]
    batch.rows[empty], batch.shots[empty] = rows[:old], events.shots[:old]
    batch.rows = np.concatenate([batch.rows, rows[old:]])
    batch.shots = np.concatenate([batch.shots, events.shots[old:]])
    batch.states = made.reshape(len(made), -1)


def _events(batch: _Batch, facing: States, step: _Operators, rng: np.random.Generator) -> _Events | None:
    """What happens to the shots of a batch besides the dominant operator; they leave their branches."""
    candidates = rng.binomial(batch.shots, _own(step.most, batch.rows))
    asked = np.flatnonzero(candidates)
    if not len(asked):
        return None
    states, rows = facing[asked], batch.rows[asked]
    density = (states @ states.conj().swapaxes(1, 2)).astype(np.complex128)
    density /= np.trace(density, axis1=1, axis2=2).real[:, None, None]
    before, gated = step.before(rows), _own(step.gated, rows)
    moved = before @ density[:, None] @ before.conj().swapaxes(2, 3)
    weights = gated.conj().swapaxes(2, 3) @ gated
    # The probability of each pair of operators, (branch, before, gated), is a trace.
    chances = (
        moved.reshape(len(asked), -1, 16)
        @ weights.swapaxes(2, 3).reshape(len(weights), -1, 16).swapaxes(1, 2)
    ).real
    kinds = chances.shape[2]
    chances = np.clip(chances.reshape(len(asked), -1), 0.0, None)
    chances[:, 0] = 0.0
    shares = chances / _own(step.most, rows)[:, None]
    none = np.clip(1.0 - shares.sum(axis=1, keepdims=True), 0.0, None)
    shares = np.concatenate([shares, none], axis=1)
    drawn = rng.multinomial(candidates[asked], shares / shares.sum(axis=1, keepdims=True))[:, :-1]
    source, kind = np.nonzero(drawn)
    if not len(source):
        return None
    shots = drawn[source, kind]
    batch.shots[asked] -= drawn.sum(axis=1)
    first, second = np.divmod(kind, kinds)
    operators = _picked(gated, source, second) @ _picked(before, source, first)
    new = operators.astype(np.complex64) @ states[source]
    new /= np.linalg.norm(new, axis=(1, 2))[:, None, None]
    return _Events(new, asked[source], shots)


def _picked(operators: Complex, rows: NDArray[np.int64], kinds: NDArray[np.int64]) -> Complex:
    return operators[rows if len(operators) > 1 else 0, kinds]


def _read(batch: _Batch, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and outcomes of all shots of branches at their end."""
    size = batch.states.shape[1]
    weights = np.cumsum(np.abs(batch.states.astype(np.complex128)) ** 2, axis=1)
    weights /= weights[:, -1:]
    owner = np.repeat(np.arange(len(batch.shots)), batch.shots)
    # One search for all: the cumulated probabilities of branch i lie between i and i + 1.
    weights += np.arange(len(weights))[:, None]
    found = np.searchsorted(weights.ravel(), owner + rng.random(len(owner)), side="right") - owner * size
    found = np.clip(found, 0, size - 1)
    seen = np.zeros(len(owner), dtype=np.int64)
    for place, qubit in enumerate(reversed(batch.order)):
        seen |= ((found >> place) & 1) << qubit
    return batch.rows[owner], seen
