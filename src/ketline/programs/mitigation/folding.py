"""Amplifying the noise of two-qubit gates by folding them.

    folded = fold(circuit, 2.5, "gate_folding", rng)

A gate ``G`` becomes ``G (G^-1 G)^n``, still in the device's instruction set since its two-qubit gates are
their own inverse. For a factor between odd numbers some gates are folded once more than others: the first,
the last, or random ones. The pass is `qiskit_mitigation`'s.
"""

from __future__ import annotations

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


def fold(circuit: QuantumCircuit, factor: float, method: Method, rng: np.random.Generator) -> QuantumCircuit:
    """Fold two-qubit gates so that their number is ``factor`` times what it was, as nearly as possible.

    Args:
        circuit: In the device's instruction set.
        factor: At least 1.
        method: Which gates get the rest: random ones, or those at the front or back.
        rng: The source of randomness for random ones.

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
                "Transpile for a backend made with use_fractional_gates=False, or turn zne_mitigation off.",
            )  # fmt: skip
    seed = int(rng.integers(1 << 62))
    return PassManager([GateFoldingPass(factor, _METHODS[method], seed)]).run(circuit)
