"""A QPU for these tests: Aer, called directly with a noise model of the test's own making."""

from __future__ import annotations

import numpy as np
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel

from ketline.programs.mitigation.circuits import compact
from ketline.units.work import ItemOutcome, WorkItem


def run(
    items: list[WorkItem], noise: NoiseModel | None = None, seed: int = 1, method: str = "density_matrix"
) -> list[ItemOutcome]:
    """Run items as a QPU does: every parameter set with the item's shots."""
    simulator = AerSimulator(method=method, noise_model=noise, seed_simulator=seed, max_parallel_threads=1)
    return [_run(simulator, item) for item in items]


def _run(simulator: AerSimulator, item: WorkItem) -> ItemOutcome:
    used = sorted({item.circuit.find_bit(q).index for i in item.circuit.data for q in i.qubits})
    circuit = compact(item.circuit, used)
    binds = [{p: item.parameter_values[:, k].tolist() for k, p in enumerate(circuit.parameters)}]
    sets = len(item.parameter_values)
    if not circuit.parameters:
        jobs = simulator.run([circuit] * sets, shots=item.shots)
    else:
        jobs = simulator.run([circuit], parameter_binds=binds, shots=item.shots)
    result = jobs.result()
    assert result.success, result.status
    places = {r.name: [circuit.find_bit(bit).index for bit in r] for r in circuit.cregs}
    bits = {r.name: np.zeros((sets, item.shots, -(-r.size // 8)), np.uint8) for r in circuit.cregs}
    for index in range(sets):
        counts = result.data(index).get("counts", {})
        words = np.repeat(np.array([int(key, 16) for key in counts], dtype=object), list(counts.values()))
        raw = np.array([[(word >> b) & 1 for b in range(circuit.num_clbits)] for word in words], np.uint8)
        for name, clbits in places.items():
            packed = np.packbits(raw[:, clbits], axis=-1, bitorder="little")[:, ::-1]
            bits[name][index] = packed
    return ItemOutcome(bits=bits)


def means(outcome: ItemOutcome, name: str, size: int) -> np.ndarray:
    """Mean of every bit of every set: ``(sets, size)``."""
    packed = outcome.bits[name][..., ::-1]
    return np.unpackbits(packed, axis=-1, count=size, bitorder="little").mean(axis=1)
