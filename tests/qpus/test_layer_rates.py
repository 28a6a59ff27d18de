"""What is learned of a layer's noise is what the emulator makes of its device's figures."""

import numpy as np
import pytest
from qiskit.quantum_info import Clifford, Pauli, QubitSparsePauli
from qpu_lab import device, emulator, run

from ketline.programs.mitigation.layers import Layer
from ketline.programs.mitigation.learning import LearningOptions, learned, plan_learning
from ketline.qpus.items import Workbench
from ketline.units.work import WorkUnit

# Depths so large that what is learned is known to about a thousandth.
PROTOCOL = LearningOptions(1, 128, 96, (2, 16, 48))
SPREAD = 0.0008
LAYERS = {
    "fez": (("cz", (2, 3)),), "sherbrooke": (("ecr", (1, 0)),), "manila": (("cx", (1, 2)), ("cx", (3, 4))),
}  # fmt: skip


def survival(name: str, layer: Layer, word: str) -> float:
    """With which factor a Pauli survives a layer and the two sx gates of the frame on each qubit."""
    noise = Workbench(device(name)).noise
    letters = {q: "IXYZ".index(letter) for q, letter in zip(layer.qubits, reversed(word), strict=True)}
    kept = 1.0
    for gate, qubits in layer.gates:
        matrix = noise.transfer(gate, qubits)
        place = letters[qubits[0]] + 4 * letters[qubits[1]]
        kept *= matrix[place, place]
    for qubit, letter in letters.items():
        own = np.diag(noise.transfer("sx", (qubit,)))
        # The second sx of a frame turns what the first has done from Y to Z.
        kept *= own[letter] * own[[0, 1, 3, 2][letter]]
    return float(kept)


@pytest.mark.parametrize("name", LAYERS)
def test_learned_noise_is_what_the_devices_figures_say(name):
    """Fails if the noise of gates, of frames or of pairs is left out, or is counted twice."""
    gates = LAYERS[name]
    layer = Layer(gates, tuple(sorted(q for _, qubits in gates for q in qubits)))
    items, plan = plan_learning([layer], device(name).target, PROTOCOL, np.random.default_rng(1))
    (found,) = learned(plan, run(WorkUnit(items), emulator(name)).items)
    clifford = Clifford(layer.circuit())
    width = len(layer.qubits)
    seen, wanted = [], []
    for place in range(0, width, 2):
        for pair in [a + b for a in "IXYZ" for b in "IXYZ"][1:]:
            word = "I" * (width - place - 2) + pair + "I" * place
            after = Pauli(word).evolve(clifford, frame="s")
            after.phase = 0
            # Only what two layers do to a Pauli can be learned.
            both = (word, after.to_label())
            seen.append(sum(np.log(found.error.pauli_fidelity(QubitSparsePauli(one))) for one in both))
            wanted.append(sum(np.log(survival(name, layer, one)) for one in both))
    assert np.abs(np.asarray(seen) - wanted).max() < 5 * SPREAD
    assert np.mean(seen) == pytest.approx(np.mean(wanted), rel=0.05)
