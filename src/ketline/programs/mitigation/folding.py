"""Amplifying the noise of two-qubit gates by folding them.

    folded = Folding.choose(2.5, "gate_folding", rng).fold(circuit)

A gate ``G`` becomes ``G (G^-1 G)^n``, still in the device's instruction set since its two-qubit gates are
their own inverse. For a factor between odd numbers some gates are folded once more than others: the first,
the last, or random ones. The pass is `qiskit_mitigation`'s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from qiskit.circuit import QuantumCircuit
from qiskit.transpiler import PassManager
from qiskit_mitigation.zne.gate_folding import SUPPORTED_FOLDED_GATES, GateFoldingPass

from ketline.programs.failures import rejected

Method = Literal["gate_folding", "gate_folding_front", "gate_folding_back"]

_METHODS: dict[str, Literal["random", "front", "back"]] = {
    "gate_folding": "random",
    "gate_folding_front": "front",
    "gate_folding_back": "back",
}


@dataclass(frozen=True, slots=True)
class Folding:
    """How a circuit is folded; ``seed`` says which gates get the rest, None where no chance is in it."""

    factor: float
    method: Method
    seed: int | None = None

    @classmethod
    def choose(cls, factor: float, method: Method, rng: np.random.Generator) -> Folding:
        """A folding by a factor of at least 1; where gates are chosen at random, they are chosen anew."""
        if method != "gate_folding" or math.isclose((factor - 1.0) % 2.0, 0.0, abs_tol=1e-9):
            return cls(factor, method)
        return cls(factor, method, int(rng.integers(1 << 62)))

    @property
    def random(self) -> bool:
        """Whether another folding of the same kind would fold other gates."""
        return self.seed is not None

    def fold(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """Fold two-qubit gates so that their number is ``factor`` times what it was, as nearly as possible.

        Args:
            circuit: In the device's instruction set.

        Raises:
            JobError: a two-qubit gate can't be folded, or the circuit has control flow.
        """
        self.check(circuit)
        folds = GateFoldingPass(self.factor, _METHODS[self.method], self.seed)
        return PassManager([folds]).run(circuit)

    def counts(self, gates: int) -> list[int]:
        """How often each of so many two-qubit gates is folded, in their order."""
        if math.isclose((self.factor - 1.0) % 2.0, 0.0, abs_tol=1e-9):
            return [round((self.factor - 1.0) / 2.0)] * gates
        # The pass tells which gates it chooses by folding them: marks between them keep them apart.
        marked = QuantumCircuit(2)
        for _ in range(gates):
            marked.cz(0, 1)
            marked.x([0, 1])
        found = [0]
        for instruction in self.fold(marked).data:
            if instruction.operation.name == "cz":
                found[-1] += 1
            elif found[-1]:
                found.append(0)
        return [(count - 1) // 2 for count in found[:gates]]

    @staticmethod
    def check(circuit: QuantumCircuit) -> None:
        """Check that a circuit's gates can be folded.

        Raises:
            JobError: a two-qubit gate can't be folded, or the circuit has control flow.
        """
        if circuit.has_control_flow_op():
            raise rejected(
                "resilience.zne", "gates of dynamic circuits (circuits with control flow) can't be folded.",
                "Turn resilience.zne_mitigation off for this circuit.",
            )  # fmt: skip
        for instruction in circuit.data:
            operation = instruction.operation
            if (
                operation.num_qubits == 2
                and operation.name not in ("barrier", "delay")
                and not isinstance(operation, SUPPORTED_FOLDED_GATES)
            ):
                raise rejected(
                    "resilience.zne.amplifier", f"{operation.name} can't be folded.",
                    "Transpile for a backend made with use_fractional_gates=False, or turn"
                    " zne_mitigation off.",
                )  # fmt: skip
