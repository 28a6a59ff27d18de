import aer_qpu
import numpy as np
import pytest
from qiskit.circuit import Parameter, ParameterVector, QuantumCircuit
from qiskit.quantum_info import Operator, PauliLindbladMap
from qiskit_aer.noise import NoiseModel, ReadoutError, coherent_unitary_error

from ketline.programs.mitigation.twirling import Sizes, sizes, twirl, undo
from ketline.units.errors import JobError
from ketline.units.work import ItemOutcome, WorkItem

ANGLE = 0.08


def _random_circuit(qubits, width, depth):
    circuit = QuantumCircuit(width, len(qubits))
    angles = ParameterVector("a", depth * len(qubits))
    for layer in range(depth):
        for i, qubit in enumerate(qubits):
            circuit.rz(
                2 * angles[layer * len(qubits) + i] if i == 0 else angles[layer * len(qubits) + i], qubit
            )
            circuit.sx(qubit)
        for i in range(layer % 2, len(qubits) - 1, 2):
            circuit.cz(qubits[i], qubits[i + 1])
    circuit.measure(qubits, range(len(qubits)))
    return circuit


@pytest.mark.parametrize(
    ("shots", "randomizations", "per", "expected"),
    [
        (4096, "auto", "auto", Sizes(32, 128)),
        (1000, "auto", "auto", Sizes(16, 64)),
        (1000, "auto", 10, Sizes(100, 10)),
        (1000, 7, "auto", Sizes(7, 143)),
        (1000, 7, 11, Sizes(7, 11)),
    ],
)
def test_sizes_follow_the_documented_rule(shots, randomizations, per, expected):
    assert sizes(shots, randomizations, per) == expected


@pytest.mark.parametrize("strategy", ["active", "active-accum", "active-circuit", "all"])
def test_every_randomisation_at_every_point_is_the_same_circuit(strategy):
    circuit = _random_circuit([6, 1, 4], 7, 3)
    template = twirl(circuit, gates=True, measures=True, strategy=strategy)
    points = np.random.default_rng(1).uniform(0, 6, (4, circuit.num_parameters))
    drawn = template.draw(points, 5, np.random.default_rng(2))
    outcomes = aer_qpu.run([WorkItem(template.circuit, drawn.parameter_values, 1)], seed=1)[0]
    assert outcomes.bits["c"].shape == (20, 1, 1)
    assert len(np.unique(drawn.parameter_values, axis=0)) == 20
    assert len(np.unique(drawn.flips["c"], axis=0)) > 3
    bare = circuit.remove_final_measurements(inplace=False)
    for index in range(20):
        bound = template.circuit.assign_parameters(drawn.parameter_values[index])
        bound.remove_final_measurements()
        for clbit, qubit in enumerate([6, 1, 4]):
            if drawn.flips["c"][index, clbit]:
                bound.x(qubit)
        expected = Operator(bare.assign_parameters(points[index % 4])).data
        # A twirled measurement may be preceded by Z: equal are the magnitudes.
        np.testing.assert_allclose(np.abs(Operator(bound).data), np.abs(expected), atol=1e-6)


@pytest.mark.parametrize(
    ("strategy", "dressed"),
    [
        ("active", [{0, 1}, {2, 3}]),
        ("active-accum", [{0, 1}, {0, 1, 2, 3}]),
        ("active-circuit", [{0, 1, 2, 3}] * 2),
    ],
)
def test_strategies_twirl_the_qubits_they_say(strategy, dressed):
    circuit = QuantumCircuit(6, 1)
    circuit.cz(0, 1)
    circuit.barrier()
    circuit.cz(2, 3)
    template = twirl(circuit, gates=True, measures=False, strategy=strategy, noise_sites=True)
    assert [set(site.qubits) for site in template.sites] == dressed
    assert [site.gates for site in template.sites] == [(("cz", (0, 1)),), (("cz", (2, 3)),)]


def test_gate_twirling_turns_a_coherent_error_into_a_stochastic_one():
    pairs = 6
    circuit = QuantumCircuit(2, 2)
    circuit.rz(np.pi / 2, 0)
    circuit.sx(0)
    circuit.rz(np.pi / 2, 0)
    for _ in range(2 * pairs):
        circuit.cz(0, 1)
    circuit.rz(np.pi / 2, 0)
    circuit.sx(0)
    circuit.rz(np.pi / 2, 0)
    circuit.measure([0, 1], [0, 1])
    error = QuantumCircuit(2)
    error.rzz(ANGLE, 0, 1)
    noise = NoiseModel()
    noise.add_all_qubit_quantum_error(coherent_unitary_error(Operator(error)), ["cz"])
    # Coherent: the angles add up. Twirled: each error is a phase flip with probability sin(angle/2)^2.
    coherent, stochastic = np.cos(2 * pairs * ANGLE), np.cos(ANGLE) ** (2 * pairs)
    assert stochastic - coherent > 0.3

    plain = twirl(circuit, gates=False, measures=True)
    drawn = plain.draw(np.zeros((1, 0)), 100, np.random.default_rng(1))
    outcome = aer_qpu.run([WorkItem(plain.circuit, drawn.parameter_values, 100)], noise)[0]
    outcome = ItemOutcome(bits=undo(outcome.bits, drawn.flips))
    assert np.mean(1 - 2 * aer_qpu.means(outcome, "c", 2)[:, 0]) == pytest.approx(coherent, abs=5 / 100)

    template = twirl(circuit, gates=True, measures=True)
    drawn = template.draw(np.zeros((1, 0)), 600, np.random.default_rng(1))
    outcome = aer_qpu.run([WorkItem(template.circuit, drawn.parameter_values, 60)], noise)[0]
    outcome = ItemOutcome(bits=undo(outcome.bits, drawn.flips))
    values = 1 - 2 * aer_qpu.means(outcome, "c", 2)[:, 0]
    assert np.mean(values) == pytest.approx(stochastic, abs=5 * np.std(values) / np.sqrt(600))


def test_measurement_twirling_makes_the_readout_error_even():
    noise = NoiseModel()
    noise.add_all_qubit_readout_error(ReadoutError([[0.98, 0.02], [0.2, 0.8]]))
    for one, bare in ((False, 0.02), (True, 0.8)):
        circuit = QuantumCircuit(3, 1)
        if one:
            circuit.x(2)
        circuit.measure(2, 0)
        template = twirl(circuit, gates=False, measures=True)
        drawn = template.draw(np.zeros((1, 0)), 400, np.random.default_rng(3))
        raw = aer_qpu.run([WorkItem(template.circuit, drawn.parameter_values, 50)], noise)[0]
        undone = ItemOutcome(bits=undo(raw.bits, drawn.flips))
        expected = 0.89 if one else 0.11
        assert aer_qpu.means(undone, "c", 1).mean() == pytest.approx(
            expected, abs=5 * 0.4 / np.sqrt(20_000) + 0.012
        )
        assert aer_qpu.means(raw, "c", 1).mean() == pytest.approx(0.41, abs=0.06)
        assert abs(expected - bare) > 0.08


def test_injected_noise_has_the_rate_it_is_given():
    circuit = QuantumCircuit(2, 2)
    circuit.cz(0, 1)
    circuit.measure([0, 1], [0, 1])
    template = twirl(circuit, gates=True, measures=True, noise_sites=True)
    (site,) = template.sites
    rate = 0.1
    noise_map = PauliLindbladMap.from_sparse_list([("X", [1], rate)], num_qubits=2)
    drawn = template.draw(
        np.zeros((1, 0)), 4000, np.random.default_rng(1), maps={site.ref: noise_map}, scale=2.0
    )
    outcome = aer_qpu.run([WorkItem(template.circuit, drawn.parameter_values, 1)])[0]
    outcome = ItemOutcome(bits=undo(outcome.bits, drawn.flips))
    flipped = aer_qpu.means(outcome, "c", 2).mean(axis=0)
    assert flipped[0] == 0
    assert flipped[1] == pytest.approx((1 - np.exp(-2 * 2 * rate)) / 2, abs=5 * 0.37 / np.sqrt(4000))
    assert drawn.signs is not None
    assert (drawn.signs == 1).all()


def test_what_cannot_be_twirled_is_refused_by_name():
    circuit = QuantumCircuit(2, 1)
    circuit.rzz(0.3, 0, 1)
    circuit.measure(0, 0)
    with pytest.raises(JobError, match=r"twirling\.enable_gates: .* rzz"):
        twirl(circuit, gates=True, measures=False)
    twirl(circuit, gates=False, measures=True)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    with pytest.raises(JobError, match="dynamic"):
        twirl(circuit, gates=False, measures=True)
    for name in ("swap", "ry"):
        circuit = QuantumCircuit(2, 1)
        if name == "swap":
            circuit.sx(0)
            circuit.swap(0, 1)
        else:
            circuit.ry(Parameter("a"), 0)
        circuit.cz(0, 1)
        with pytest.raises(JobError, match=name) as caught:
            twirl(circuit, gates=True, measures=False)
        assert "rz, sx" in caught.value.solution


def test_basis_changes_are_inputs_in_the_order_of_qubits():
    circuit = QuantumCircuit(5, 2)
    circuit.sx(3)
    circuit.cz(3, 1)
    circuit.measure([1, 3], [0, 1])
    template = twirl(circuit, gates=True, measures=True, change_basis=True)
    bases = np.array([[1, 3], [1, 1], [2, 3]], np.uint8)
    drawn = template.draw(np.zeros((3, 0)), 100, np.random.default_rng(1), bases=bases)
    outcome = aer_qpu.run([WorkItem(template.circuit, drawn.parameter_values, 20)])[0]
    outcome = ItemOutcome(bits=undo(outcome.bits, drawn.flips))
    values = 1 - 2 * aer_qpu.means(outcome, "c", 2).reshape(100, 3, 2).mean(axis=0)
    # sx|0> is the -1 eigenstate of Y; the other qubit is in |0>.
    np.testing.assert_allclose(values, [[1, -1], [1, 0], [0, -1]], atol=5 / np.sqrt(2000))
