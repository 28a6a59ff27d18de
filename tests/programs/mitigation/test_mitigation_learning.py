import aer_qpu
import numpy as np
import pytest
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import Clifford, Pauli, PauliLindbladMap, PauliList, QubitSparsePauli
from qiskit_aer.noise import NoiseModel, PauliLindbladError, ReadoutError
from qiskit_ibm_runtime.fake_provider import FakeFez

from ketline.programs import state
from ketline.programs.mitigation.layers import (
    Layer,
    LayerNoise,
    layer_of_circuit,
    maps_for,
    unique_layers,
)
from ketline.programs.mitigation.learning import (
    LearningOptions,
    LearningPlan,
    fitted,
    learned,
    plan_learning,
)
from ketline.programs.mitigation.twirling import twirl
from ketline.units.errors import JobError
from ketline.units.work import ItemOutcome

TARGET = FakeFez().target
PAIR = Layer((("cz", (2, 3)),), (2, 3))
RATES = {"IX": 0.004, "XI": 0.002, "ZZ": 0.006, "XX": 0.003, "YZ": 0.0015, "ZX": 0.001}


def _noise() -> NoiseModel:
    noise = NoiseModel()
    error = PauliLindbladError(PauliList(list(RATES)), list(RATES.values()))
    noise.add_all_qubit_quantum_error(error, ["cz"])
    noise.add_all_qubit_readout_error(ReadoutError([[0.98, 0.02], [0.05, 0.95]]))
    return noise


def test_learned_noise_is_the_noise_that_is_there():
    items, plan = plan_learning([PAIR], TARGET, LearningOptions(), np.random.default_rng(1))
    plan = LearningPlan.from_tree(state.unpack(state.pack(plan.to_tree())))
    outcomes = aer_qpu.run(items, _noise())
    (noise,) = learned(plan, outcomes)
    assert noise.layer == PAIR
    assert noise.error is not None
    assert (noise.error.rates >= 0).all()
    applied = PauliLindbladMap.from_list(list(RATES.items()))
    gate = QuantumCircuit(2)
    gate.cz(0, 1)
    worst = 0.0
    for label in PauliList([a + b for a in "IXYZ" for b in "IXYZ"][1:]).to_labels():
        after = Pauli(label).evolve(Clifford(gate), frame="s")
        after.phase = 0
        # What a pair of layers does to a Pauli can be told; what one of the two does can't.
        pair = [
            np.log(which.pauli_fidelity(QubitSparsePauli(label)))
            + np.log(which.pauli_fidelity(QubitSparsePauli(after.to_label())))
            for which in (noise.error, applied)
        ]
        worst = max(worst, abs(pair[0] - pair[1]))
    assert worst < 0.0025
    assert applied.rates.sum() == pytest.approx(noise.error.rates.sum(), rel=0.08)
    (again,) = fitted(plan.protocols[0], outcomes, resamples=20)
    assert again.error == noise.error
    # ZZ is its own partner, so its rate is known by itself.
    (zz,) = [i for i, term in enumerate(again.error.to_sparse_list()) if term[0] == "ZZ"]
    assert 0 < again.rates_std[zz] < 0.001
    assert abs(again.error.rates[zz] - RATES["ZZ"]) < 5 * again.rates_std[zz]


def test_a_signal_that_is_gone_is_the_jobs_own_trouble():
    items, plan = plan_learning([PAIR], TARGET, LearningOptions(1, 4, 8, (0, 30)), np.random.default_rng(1))
    rng = np.random.default_rng(0)
    outcomes = [
        ItemOutcome(bits={"meas0": rng.integers(0, 4, (len(item.parameter_values), 4, 1), dtype=np.uint8)})
        for item in items
    ]
    with pytest.raises(JobError, match="layer_pair_depths"):
        learned(plan, outcomes)
    # A dry run has nothing else to go by, and goes on.
    (noise,) = learned(plan, None)
    assert noise.error is not None
    assert len(noise.error.rates) == 15
    assert noise.error.rates.max() < 1e-9


def test_without_noise_nothing_is_learned():
    options = LearningOptions(num_randomizations=8, shots_per_randomization=32)
    items, plan = plan_learning([PAIR], TARGET, options, np.random.default_rng(1))
    (noise,) = learned(plan, aer_qpu.run(items))
    assert noise.error is not None
    assert noise.error.rates.max() < 1e-9


def test_neighbours_are_learned_together_and_layers_beyond_the_limit_are_not():
    layer = Layer((("cz", (2, 3)), ("cz", (4, 5))), (2, 3, 4, 5))
    options = LearningOptions(1, 16, 8, (0, 2))
    items, plan = plan_learning([layer, PAIR], TARGET, options, np.random.default_rng(1))
    assert {item.shots for item in items} == {16}
    assert {len(item.parameter_values) for item in items} == {9 * 8, 8}
    noises = learned(plan, aer_qpu.run(items, _noise()))
    assert noises[1] == LayerNoise(PAIR, None)
    assert noises[0].error is not None
    supports = {tuple(sorted(qubits)) for _, qubits, _ in noises[0].error.to_sparse_list()}
    assert {(0,), (1,), (2,), (3,), (0, 1), (1, 2), (2, 3)} == supports


def test_layers_are_found_and_ranked_as_the_client_says():
    circuit = QuantumCircuit(6, 1)
    for a, b in ((0, 1), (2, 3), (0, 1)):
        circuit.cz(b, a)
        circuit.barrier()
    circuit.cz(1, 2)
    circuit.cz(4, 5)
    circuit.barrier()
    sites = twirl(circuit, gates=True, measures=False, strategy="active", noise_sites=True).sites
    gates = [layer.gates for layer in unique_layers([sites])]
    assert gates == [(("cz", (0, 1)),), (("cz", (1, 2)), ("cz", (4, 5))), (("cz", (2, 3)),)]


def test_given_noise_finds_its_layer_whatever_the_order_of_its_qubits():
    circuit = QuantumCircuit(6, 1)
    circuit.cz(4, 1)
    circuit.measure(4, 0)
    sites = twirl(circuit, gates=True, measures=True, strategy="active", noise_sites=True).sites
    given = QuantumCircuit(2)
    given.cz(0, 1)
    layer, order = layer_of_circuit(given, [4, 1])
    assert layer == Layer((("cz", (1, 4)),), (1, 4))
    assert order == [1, 0]
    error = PauliLindbladMap.from_sparse_list([("XY", [order[0], order[1]], 0.1)], num_qubits=2)
    maps, missing = maps_for(sites, [LayerNoise(layer, error)])
    assert not missing
    # X on qubit 4 and Y on qubit 1, which is the first of the layer.
    assert maps[sites[0].ref].to_sparse_list() == [("YX", [0, 1], 0.1)]
    maps, missing = maps_for(sites, [])
    assert missing == {sites[0].ref}
    assert len(maps[sites[0].ref].rates) == 0


def test_noise_beyond_the_twirled_qubits_is_refused():
    circuit = QuantumCircuit(6, 1)
    circuit.cz(2, 3)
    circuit.measure(2, 0)
    sites = twirl(circuit, gates=True, measures=True, strategy="active", noise_sites=True).sites
    wide = Layer((("cz", (2, 3)),), (2, 3, 4))
    error = PauliLindbladMap.from_sparse_list([("ZZ", [1, 2], 0.1)], num_qubits=3)
    with pytest.raises(JobError, match=r"layer_noise_model: .*\[3, 4\]"):
        maps_for(sites, [LayerNoise(wide, error)])


def test_the_same_gates_twirled_with_other_qubits_are_another_layer():
    circuit = QuantumCircuit(6, 1)
    circuit.cz(2, 3)
    circuit.barrier()
    circuit.cz(4, 5)
    circuit.barrier()
    circuit.cz(2, 3)
    sites = twirl(circuit, gates=True, measures=False, strategy="active-accum", noise_sites=True).sites
    layers = unique_layers([sites])
    assert [layer.qubits for layer in layers if layer.gates == PAIR.gates] == [(2, 3), (2, 3, 4, 5)]
    noises = [
        LayerNoise(
            layer, PauliLindbladMap.from_sparse_list([("Z", [len(layer.qubits) - 1], 0.1)], len(layer.qubits))
        )
        for layer in layers
    ]
    maps, missing = maps_for(sites, noises)
    assert not missing
    assert [maps[site.ref].to_sparse_list()[0][1] for site in sites] == [[1], [3], [3]]
    # What was learned with fewer qubits is better than nothing.
    maps, missing = maps_for(sites, [noise for noise in noises if noise.layer.qubits == (2, 3)])
    assert len(missing) == 1
    assert maps[sites[2].ref].to_sparse_list()[0][1] == [1]
