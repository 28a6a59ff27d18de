"""Which simulation method a circuit gets, by what it costs.

The costs are rough on purpose (within a factor of about three of what was measured on one core of a small
server, see `benchmarks.emulator`): they choose between methods whose costs lie orders of magnitude apart,
and refuse what would never end.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import ParameterExpression

from ketline.errors import CANNOT_SIMULATE
from ketline.qpus.components import plain
from ketline.qpus.frames import GATES, QUARTERS
from ketline.qpus.transfer import TURNING
from ketline.units.errors import JobError

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

    from ketline.qpus.noise import Kind
    from ketline.qpus.reduce import Reduced
    from ketline.qpus.sources import NoiseSource

Name = Literal[
    "none", "density_matrix", "statevector", "stabilizer", "matrix_product_state", "pauli_frames", "transfer",
    "trajectories",
]  # fmt: skip

PIECE_SECONDS = 0.25
"""Estimated length of one call: how long a stop may have to wait."""

MAX_SECONDS = 10_800.0
"""What one job may take on the emulator by its estimate; no plan's jobs may take longer."""

PATIENCE_SECONDS = 10.0
"""What an exact simulation may take before an approximate one, where that is allowed, is taken instead."""

_AER_ROTATIONS = frozenset({"rz"})
_ASIDE = frozenset({"measure", "reset", "barrier", "delay"})
_COMPLEX_BYTES = 16
_MAX_DENSITY_QUBITS = 13
_MAX_BOND = 4096
_READ_SECONDS = 3.5e-3
_FEW_QUBITS = 4
_QUARTER_TOLERANCE = 1e-9
_SHOT_SECONDS = 1e-4
_STEP_SECONDS = 2.5e-4
_OPERATOR_SECONDS = 1e-5
_AMPLITUDE_SECONDS = 6e-9
_EVENT_SECONDS = 5e-6
_DRAWN_SECONDS = 2e-6
_BRANCH_BYTES = 64.0
_MAX_TRAJECTORY_QUBITS = 28


@dataclass(frozen=True, slots=True)
class Suited:
    """Special methods that take a circuit.

    ``stabilizer`` (Aer's) and ``frames`` (`ketline.qpus.frames`) are for Clifford circuits. ``events`` is how
    often something happens in a shot by the noise, where shared trajectories (`ketline.qpus.trajectories`)
    take it; None where they don't.
    """

    stabilizer: bool
    frames: bool
    events: float | None = None


@dataclass(frozen=True, slots=True)
class Method:
    """How a circuit is run: Aer's name of the method, and what one parameter set costs.

    ``seconds_a_set`` is paid once a set (all its shots sampled from one state) and ``seconds_a_shot`` for
    every shot of it.
    """

    name: Name
    seconds_a_set: float
    seconds_a_shot: float
    memory_bytes: float

    def seconds(self, sets: int, shots: int) -> float:
        """Estimate for so many sets of so many shots."""
        return sets * (self.seconds_a_set + shots * self.seconds_a_shot)

    def piece_shots(self) -> int:
        """How many shots of a set one call takes, so that it is neither long nor mostly preparation."""
        left = max(PIECE_SECONDS - self.seconds_a_set, 2 * self.seconds_a_set)
        return max(1, int(left / max(self.seconds_a_shot, 1e-9)))

    def seconds_in_pieces(self, sets: int, shots: int) -> float:
        """`seconds`, with what every call of a set begins with."""
        return self.seconds(sets, shots) + sets * (-(-shots // self.piece_shots()) - 1) * self.seconds_a_set


def clifford(
    circuit: QuantumCircuit,
    values: Mapping[Any, NDArray[np.float64]],
    rotations: Container[str],
    aside: Container[Any] = (),
) -> bool:
    """Whether every set of parameter values makes a circuit of Clifford gates.

    Args:
        circuit: the circuit, its gates with numbers or plain parameters (`binding.flatten`).
        values: the values of each parameter, one a set.
        rotations: the rotations that are taken where they are by quarter turns.
        aside: parameters that aren't looked at.
    """
    for instruction in circuit.data:
        name = instruction.name
        if instruction.is_control_flow():
            blocks = instruction.operation.blocks
            if not all(clifford(block, values, rotations, aside) for block in blocks):
                return False
            continue
        if name in GATES or name in _ASIDE:
            continue
        if name not in rotations:
            return False
        angle = instruction.params[0]
        if isinstance(angle, ParameterExpression):
            if angle in aside:
                continue
            if angle not in values:
                return False
            turns = values[angle] / (np.pi / 2)
        else:
            turns = np.asarray([float(angle) / (np.pi / 2)])
        if np.any(np.abs(turns - np.round(turns)) > _QUARTER_TOLERANCE):
            return False
    return True


def suited(reduced: Reduced, values: Mapping[Any, NDArray[np.float64]], source: NoiseSource) -> Suited:
    """Which of the special methods take a circuit; few qubits don't need them."""
    if len(reduced.qubits) <= _FEW_QUBITS:
        return Suited(False, False)
    small = reduced.circuit
    return Suited(
        stabilizer=clifford(small, values, _AER_ROTATIONS),
        frames=not reduced.dynamic and clifford(small, values, QUARTERS, reduced.slow),
        events=_events(reduced, source),
    )


def _events(reduced: Reduced, source: NoiseSource) -> float | None:
    """How often something happens in a shot by the noise; None where trajectories don't take the circuit."""
    if (
        not reduced.terminal
        or len(reduced.qubits) > _MAX_TRAJECTORY_QUBITS
        or any(len(where) > 2 for _, where in reduced.uses)
        or not plain(reduced.circuit.data, TURNING)
    ):
        return None
    places = {qubit: place for place, qubit in enumerate(reduced.qubits)}
    total = 0.0
    for (name, where), count in reduced.uses.items():
        after = source.transfer(name, tuple(places[q] for q in where))
        if after is not None:
            total += count * (1.0 - float(np.trace(after)) / len(after))
    return total


def frame_method(reduced: Reduced) -> Method:
    """What Pauli frames cost."""
    gates = max(reduced.gates, 1)
    return Method("pauli_frames", 1e-3 + gates * 5e-6, gates * 1e-8, 1e6 + 64.0 * gates)


def bond(reduced: Reduced) -> int:
    """Bound on the bond dimension that a matrix product state of the circuit needs, qubits in order."""
    places = {q: i for i, q in enumerate(reduced.qubits)}
    width = len(places)
    crossing = np.zeros(max(width, 1), dtype=np.int64)
    for (a, b), count in reduced.entangling.items():
        low, high = sorted((places[a], places[b]))
        crossing[low:high] += count
    limits = np.minimum(np.arange(1, width + 1), width - np.arange(1, width + 1))
    exponents = np.minimum(crossing[:width], limits)
    return int(2 ** min(int(exponents.max(initial=0)), 60))


def bundle_method(steps: int, row_entries: int, columns: int, sets: int) -> Method:
    """What a bundle of components of few qubits costs.

    Args:
        steps: matrices that are applied to all sets at once.
        row_entries: entries of states that they change in a set of its own.
        columns: bits that are drawn a shot.
        sets: parameter sets.
    """
    return Method("transfer", steps * 3e-5 / sets + row_entries * 2e-8, columns * 2e-8, 1e8)


def trajectory_method(reduced: Reduced, events: float, sets: int) -> Method:
    """What trajectories cost that are shared for as long as they are alike.

    Args:
        reduced: the circuit.
        events: how often something happens in a shot.
        sets: parameter sets, which share what a step costs once.
    """
    width = len(reduced.qubits)
    steps = sum(reduced.entangling.values()) + width / 2
    state = _AMPLITUDE_SECONDS * 2.0**width
    # A shot has a state of its own after its first event.
    alone = -math.expm1(-events) / events if events else 1.0
    return Method(
        "trajectories", steps * (_STEP_SECONDS / sets + _OPERATOR_SECONDS + state),
        (1 - alone) * steps * state + events * _EVENT_SECONDS + _DRAWN_SECONDS,
        _BRANCH_BYTES * max(2.0**21, 2.0 ** (width + 2)),
    )  # fmt: skip


def _matrix_product(reduced: Reduced, chi: float, sampled: bool, noisy: bool, sets: int) -> Method:
    """What Aer's matrix product states cost with a bond dimension.

    Each operator of the noise copies the whole state, and a call starts by reading the terms of all errors.
    """
    n, gates = len(reduced.qubits), max(reduced.gates, 1)
    memory = 4 * n * chi * chi * _COMPLEX_BYTES
    if sampled:
        gate_seconds = 1e-5 + 3e-10 * chi**3
        return Method("matrix_product_state", gates * gate_seconds, n * (2e-6 + 1e-8 * chi**2), memory)
    gate_seconds = n * (1e-7 + 2e-8 * chi**2 + 1e-9 * chi**3) if noisy else 1e-5 + 3e-10 * chi**3
    read = len(reduced.uses) * _READ_SECONDS / sets if noisy else 0.0
    return Method("matrix_product_state", 5e-5 + read, _SHOT_SECONDS + gates * gate_seconds, memory)


def candidates(reduced: Reduced, kind: Kind, fits: Suited, sets: int = 1) -> list[Method]:
    """All methods that give the exact distribution, whatever they cost."""
    n, gates = len(reduced.qubits), max(reduced.gates, 1)
    size = 2.0**n
    noisy = kind != "none"
    found = []
    sampled = reduced.terminal and not noisy
    gate_seconds = 4e-6 + 1e-8 * size
    found.append(
        Method("statevector", gates * gate_seconds, 2e-7 * n, _COMPLEX_BYTES * size)
        if sampled
        else Method("statevector", 5e-5, _SHOT_SECONDS + gates * gate_seconds, _COMPLEX_BYTES * size)
    )
    if noisy and n <= _MAX_DENSITY_QUBITS:
        superop_seconds = 1.5e-5 + 4e-9 * size * size
        memory = 2 * _COMPLEX_BYTES * size * size
        if reduced.terminal:
            found.append(Method("density_matrix", gates * superop_seconds, 2e-7 * n, memory))
        else:
            found.append(Method("density_matrix", 5e-5, _SHOT_SECONDS + gates * superop_seconds, memory))
    if fits.events is not None and noisy:
        found.append(trajectory_method(reduced, fits.events, sets))
    if fits.frames and kind in ("none", "pauli") and not reduced.slow:
        found.append(frame_method(reduced))
    if fits.stabilizer and kind != "kraus":
        tableau = 4.0 * n * n
        gate_seconds = 7e-6 if noisy else 1.5e-6
        found.append(
            Method("stabilizer", gates * gate_seconds, 4e-8 * n * n, tableau)
            if sampled
            else Method("stabilizer", 5e-5, _SHOT_SECONDS + gates * gate_seconds, tableau)
        )
    chi = float(bond(reduced))
    if chi <= _MAX_BOND:
        found.append(_matrix_product(reduced, chi, sampled, noisy, sets))
    return found


def choose(
    where: str, reduced: Reduced, kind: Kind, fits: Suited, size: tuple[int, int], memory_bytes: int
) -> Method:  # fmt: skip
    """The cheapest method that fits into the memory.

    Args:
        where: how a message names the circuit.
        reduced: the circuit on what it touches.
        kind: what its noise is.
        fits: what `suited` says of it.
        shots: shots of one parameter set.
        memory_bytes: the memory there is.

    Raises:
        JobError: none fits, or the cheapest would take longer than any job may.
    """
    if not reduced.qubits or not any(name == "measure" for name, _ in reduced.uses):
        return Method("none", 0.0, 0.0, 0.0)
    sets, shots = size
    every = candidates(reduced, kind, fits, sets)
    fitting = [method for method in every if method.memory_bytes <= memory_bytes]
    if not fitting:
        least = min(every, key=lambda method: method.memory_bytes)
        raise JobError(
            CANNOT_SIMULATE.code,
            f"{where} can't be simulated: it acts on {len(reduced.qubits)} qubits, for which the method "
            f"{least.name} needs about {_size(least.memory_bytes)}; the limit is {_size(memory_bytes)}",
            CANNOT_SIMULATE.solution,
        )
    return min(fitting, key=lambda method: method.seconds_in_pieces(1, shots))


def check_time(seconds: float) -> None:
    """Refuse what would take longer than any job may.

    Raises:
        JobError: with the estimate and the limit.
    """
    if seconds > MAX_SECONDS:
        raise JobError(
            CANNOT_SIMULATE.code,
            f"the job can't be simulated: it would take about {seconds:.3g} s; "
            f"the limit is {MAX_SECONDS:g} s",
            CANNOT_SIMULATE.solution,
        )


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB", "TB", "PB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} EB"
