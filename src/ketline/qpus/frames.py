"""Clifford circuits with Pauli noise, any width, by Pauli frames (stim).

Noise that isn't Pauli is replaced by its Pauli twirl: the channel that it becomes when it is conjugated by
random Paulis. That keeps the error rates and drops what is coherent or asymmetric in it, such as the
direction of relaxation. A slow turn of a waiting qubit becomes a random Z, which no echo undoes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import stim
from numpy.typing import NDArray
from qiskit.circuit import Parameter, ParameterExpression

from ketline.qpus.noise import channel

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit
    from qiskit_aer.noise import QuantumError

GATES: dict[str, tuple[str, ...]] = {
    "id": (), "x": ("X {0}",), "y": ("Y {0}",), "z": ("Z {0}",), "h": ("H {0}",), "s": ("S {0}",),
    "sdg": ("S_DAG {0}",), "sx": ("SQRT_X {0}",), "sxdg": ("SQRT_X_DAG {0}",), "cx": ("CX {0} {1}",),
    "cy": ("CY {0} {1}",), "cz": ("CZ {0} {1}",), "swap": ("SWAP {0} {1}",),
    "ecr": ("S {0}", "SQRT_X {1}", "CX {0} {1}", "X {0}"),
}  # fmt: skip
"""Gates as stim's, up to a phase."""

QUARTERS: dict[str, tuple[str, str, str, str]] = {
    "rz": ("", "S {0}", "Z {0}", "S_DAG {0}"),
    "p": ("", "S {0}", "Z {0}", "S_DAG {0}"),
    "rx": ("", "SQRT_X {0}", "X {0}", "SQRT_X_DAG {0}"),
    "ry": ("", "SQRT_Y {0}", "Y {0}", "SQRT_Y_DAG {0}"),
    "rzz": ("", "SQRT_ZZ {0} {1}", "Z {0} {1}", "SQRT_ZZ_DAG {0} {1}"),
    "rxx": ("", "SQRT_XX {0} {1}", "X {0} {1}", "SQRT_XX_DAG {0} {1}"),
}
"""Rotations by 0, 1, 2 and 3 quarter turns."""

_PAULIS = np.asarray([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
_LEAST = 1e-12


def twirled(error: QuantumError) -> NDArray[np.float64]:
    """Probabilities of the Paulis of an error's twirl; shape ``(4,) * n``, I X Y Z, first qubit first."""
    superop = np.asarray(channel(error).data)
    width = error.num_qubits
    found = np.empty((4,) * width)
    for index in np.ndindex(found.shape):
        pauli: NDArray[Any] = np.ones((1, 1))
        for letter in index:
            pauli = np.kron(_PAULIS[letter], pauli)
        found[index] = np.vdot(np.kron(pauli.conj(), pauli), superop).real / 4**width
    return np.clip(found, 0.0, 1.0) / np.clip(found, 0.0, 1.0).sum()


class FrameNoise(Protocol):
    """Noise as frames take it, on the circuit's own qubits."""

    def paulis(self, name: str, where: tuple[int, ...]) -> NDArray[np.float64] | None:
        """Probabilities of Paulis after an instruction (`twirled`); None for none."""
        ...

    def misread(self, qubit: int) -> NDArray[np.float64] | None:
        """Readout probabilities ``[true, read]``; None for perfect."""
        ...


@dataclass(slots=True)
class Frames:
    """A circuit in stim's language, with places for angles.

    ``lines`` are ready lines, or (rotation, parameter, qubits) where a row's values decide. ``records`` are
    the classical bit and the qubit of each measurement, in order.
    """

    lines: list[str | tuple[str, Parameter, tuple[int, ...]]] = field(default_factory=list)
    records: list[tuple[int, int]] = field(default_factory=list)
    misreads: list[NDArray[np.float64] | None] = field(default_factory=list)
    num_bits: int = 0

    def sample(self, values: dict[Parameter, float], shots: int, seed: int) -> NDArray[np.uint8]:
        """Bits of so many shots, shape ``(shots, num_bits)``, bit 0 first.

        Args:
            values: the value of each parameter in this row.
            shots: how many.
            seed: randomness.
        """
        text = "\n".join(
            line if isinstance(line, str) else _turned(line[0], values[line[1]], line[2])
            for line in self.lines
        )
        drawn = stim.Circuit(text).compile_sampler(seed=seed).sample(shots)
        rng = np.random.default_rng(seed)
        bits = np.zeros((shots, self.num_bits), dtype=np.uint8)
        for record, ((bit, _), misread) in enumerate(zip(self.records, self.misreads, strict=True)):
            true = drawn[:, record]
            if misread is not None:
                true = true ^ (rng.random(shots) < np.where(true, misread[1, 0], misread[0, 1]))
            bits[:, bit] = true
        return bits


def frames(
    circuit: QuantumCircuit, noise: FrameNoise | None, slow: dict[Parameter, float]
) -> Frames:  # fmt: skip
    """Translate a reduced circuit; `ketline.qpus.methods.clifford` has to hold for it.

    Args:
        circuit: the circuit, without control flow.
        noise: its noise.
        slow: probability of a Z for each parameter that stands for the slow turn of a waiting qubit.
    """
    made = Frames(num_bits=circuit.num_clbits)
    qubits = {qubit: i for i, qubit in enumerate(circuit.qubits)}
    clbits = {bit: i for i, bit in enumerate(circuit.clbits)}
    for instruction in circuit.data:
        operation = instruction.operation
        where = tuple(qubits[q] for q in instruction.qubits)
        name = operation.name
        label = operation.label if name == "id" and operation.label else name
        after = None if noise is None else noise.paulis(label, where)
        if name == "measure":
            made.lines.extend(_channel(after, where))
            made.lines.append(f"M {where[0]}")
            made.records.append((clbits[instruction.clbits[0]], where[0]))
            made.misreads.append(None if noise is None else noise.misread(where[0]))
            continue
        if name == "reset":
            made.lines.append(f"R {where[0]}")
        elif name in QUARTERS:
            angle = operation.params[0]
            if isinstance(angle, Parameter) and angle in slow:
                made.lines.append(f"Z_ERROR({slow[angle]!r}) {where[0]}")
            elif isinstance(angle, ParameterExpression):
                made.lines.append((name, angle, where))
            else:
                made.lines.append(_turned(name, float(angle), where))
        else:
            made.lines.extend(line.format(*where) for line in GATES[name])
        made.lines.extend(_channel(after, where))
    return made


def _turned(name: str, angle: float, where: tuple[int, ...]) -> str:
    return QUARTERS[name][round(angle / (np.pi / 2)) % 4].format(*where)


def _channel(probabilities: NDArray[np.float64] | None, where: tuple[int, ...]) -> list[str]:
    if probabilities is None:
        return []
    errors = probabilities.ravel()[1:]
    if np.max(errors, initial=0.0) < _LEAST:
        return []
    listed = ",".join(map(repr, errors.tolist()))
    return [f"PAULI_CHANNEL_{len(where)}({listed}) {' '.join(map(str, where))}"]
