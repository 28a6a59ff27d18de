import aer_qpu
import numpy as np
import pytest
from qiskit.circuit import ParameterVector, QuantumCircuit
from qiskit.primitives.containers.observables_array import ObservablesArray
from qiskit.quantum_info import PauliLindbladMap, PauliList, SparseObservable, SparsePauliOp, Statevector
from qiskit_aer.noise import NoiseModel, PauliLindbladError, ReadoutError, depolarizing_error

from ketline.programs import state
from ketline.programs.mitigation import estimation
from ketline.programs.mitigation.estimation import (
    JobPlan,
    evaluate_job,
    needed_layers,
)
from ketline.programs.mitigation.layers import Layer, LayerNoise
from ketline.programs.mitigation.recipe import Pec, Pub, Recipe, Zne
from ketline.programs.mitigation.twirling import Sizes
from ketline.units.errors import JobError


def plan_job(pubs, readout, rng):
    items = []
    return items, estimation.plan_job(items, pubs, readout, rng)


QUBITS = (4, 1)
LAYER = Layer((("cz", (1, 4)),), (1, 4))
RATES = {"IX": 0.02, "XI": 0.01, "ZZ": 0.03, "YZ": 0.015}


def _circuit(pairs: int = 1) -> QuantumCircuit:
    """Two qubits of six, entangled; ``2 * pairs + 1`` gates between them."""
    angles = ParameterVector("a", 2)
    circuit = QuantumCircuit(6)
    for qubit, angle in zip(QUBITS, angles, strict=True):
        circuit.sx(qubit)
        circuit.rz(angle, qubit)
        circuit.sx(qubit)
    for _ in range(2 * pairs + 1):
        circuit.cz(*QUBITS)
    circuit.rz(0.7, 1)
    circuit.sx(1)
    return circuit


def _label(on: dict[int, str]) -> str:
    return "".join(on.get(qubit, "I") for qubit in reversed(range(6)))


ZZ, ZI, XX, XY, YY = (_label({4: a, 1: b}) for a, b in ("ZZ", "ZI", "XX", "XY", "YY"))


def _exact(circuit, observables, points):
    shape = np.broadcast_shapes(observables.shape, points.shape[:-1])
    spread = np.broadcast_to(points, (*shape, points.shape[-1]))
    chosen = np.broadcast_to(np.arange(observables.size).reshape(observables.shape), shape)
    flat = observables.ravel().sparse_observables_array()
    result = np.empty(shape)
    for index in np.ndindex(shape):
        operator = SparsePauliOp.from_sparse_observable(flat[chosen[index]])
        final = Statevector(circuit.assign_parameters(spread[index]))
        result[index] = final.expectation_value(operator).real
    return result


def _estimate(pubs, readout=None, noise=None, seed=1):
    items, plan = plan_job(pubs, readout, np.random.default_rng(seed))
    plan = JobPlan.from_tree(state.unpack(state.pack(plan.to_tree())))
    return evaluate_job(plan, aer_qpu.run(items, noise, seed)), plan, items


def _gate_noise(rates=None) -> NoiseModel:
    rates = rates or RATES
    noise = NoiseModel()
    error = PauliLindbladError(PauliList(list(rates)), list(rates.values()))
    # The error's first qubit is the gate's first, which is qubit 4.
    noise.add_all_qubit_quantum_error(error, ["cz"])
    return noise


def _known() -> LayerNoise:
    flipped = [(label[::-1], rate) for label, rate in RATES.items()]
    return LayerNoise(LAYER, PauliLindbladMap.from_list(flipped))


@pytest.mark.parametrize("twirled", ["nothing", "measures", "gates", "both"])
def test_every_observable_at_every_point_is_right(twirled):
    observables = ObservablesArray(
        [[{ZZ: 1.0, XX: -0.5, "IIIIII": 0.25}], [YY], [{_label({4: "1", 1: "+"}): 2.0, ZI: 0.3}]]
    )
    points = np.random.default_rng(2).uniform(0, 6, (4, 2))
    gates, measures = twirled in ("gates", "both"), twirled in ("measures", "both")
    size = Sizes(1, 4000) if twirled == "nothing" else Sizes(40, 100)
    recipe = Recipe(size, twirl_gates=gates, twirl_measures=measures)
    (found,), plan, _ = _estimate([(Pub(_circuit(), observables, points), recipe)])
    exact = _exact(_circuit(), observables, points)
    assert found.fields["evs"].shape == (3, 4)
    pull = (found.fields["evs"] - exact) / np.maximum(found.fields["ensemble_standard_error"], 1e-3)
    assert np.abs(pull).max() < 5
    assert found.fields["ensemble_standard_error"].max() < 4 / np.sqrt(4000)
    assert plan.pubs[0].metadata["num_randomizations"] == size.randomizations


def test_points_and_observables_pair_up_without_waste():
    labels = [ZZ, XX, YY, ZI]
    points = np.random.default_rng(2).uniform(0, 6, (4, 2))
    pub = Pub(_circuit(), ObservablesArray(labels), points)
    (found,), _, items = _estimate([(pub, Recipe(Sizes(1, 4000)))])
    assert items[0].parameter_values.shape[0] == 4
    exact = _exact(_circuit(), ObservablesArray(labels), points)
    np.testing.assert_allclose(found.fields["evs"], exact, atol=5 / np.sqrt(4000))


@pytest.mark.parametrize("strategy", ["active", "active-accum", "active-circuit", "all"])
def test_observables_on_some_of_the_twirled_qubits(strategy):
    circuit = QuantumCircuit(6)
    for qubit in (0, 2, 3, 5):
        circuit.sx(qubit)
        circuit.rz(0.3 * qubit + 0.2, qubit)
        circuit.sx(qubit)
    circuit.cz(0, 2)
    circuit.cz(3, 5)
    observables = ObservablesArray(["IIXYII", "ZIIIIZ", "IIYIII"])
    recipe = Recipe(Sizes(40, 100), True, True, strategy)
    (found,), _, _ = _estimate([(Pub(circuit, observables, np.zeros((0,))), recipe)])
    exact = _exact(circuit, observables, np.zeros((0,)))
    np.testing.assert_allclose(found.fields["evs"], exact, atol=5 / np.sqrt(4000))
    assert np.abs(exact).max() > 0.1


def test_a_measurement_that_is_read_later_stays():
    circuit = QuantumCircuit(3, 3)
    circuit.x(0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    circuit.measure([1, 2], [1, 2])
    pub = Pub(circuit, ObservablesArray(["IZI", "ZII"]), np.zeros((0,)))
    items, plan = plan_job([(pub, Recipe(Sizes(4, 20), twirl_measures=True))], None, np.random.default_rng(1))
    assert items[0].circuit.count_ops()["measure"] == 3
    (found,) = evaluate_job(plan, aer_qpu.run(items, method="statevector"))
    assert found.fields["evs"].tolist() == [-1, 1]


def test_a_constant_needs_no_circuit():
    pub = Pub(QuantumCircuit(3), ObservablesArray({"III": 0.5}), np.zeros((0,)))
    (found,), _, items = _estimate([(pub, Recipe(Sizes(1, 10)))])
    assert items == []
    assert (found.fields["evs"], found.fields["stds"]) == (0.5, 0.0)


def test_trex_removes_the_bias_of_readout():
    noise = NoiseModel()
    noise.add_all_qubit_readout_error(ReadoutError([[0.97, 0.03], [0.12, 0.88]]))
    observables = ObservablesArray([ZZ, ZI, XY])
    points = np.random.default_rng(3).uniform(0, 6, (30, 1, 2))
    exact = _exact(_circuit(), observables, points)
    pub = Pub(_circuit(), observables, points)
    recipe = Recipe(Sizes(32, 128), twirl_measures=True)
    (raw,), _, _ = _estimate([(pub, recipe)], None, noise)
    (corrected,), _, _ = _estimate([(pub, recipe)], Sizes(64, 256), noise)
    # Twirled, each readout shrinks a Pauli by 1 - 0.03 - 0.12.
    for column, weight in ((0, 2), (1, 1), (2, 2)):
        slope = np.polyfit(exact[:, column], raw.fields["evs"][:, column], 1)[0]
        assert slope == pytest.approx(0.85**weight, abs=0.02)
        slope = np.polyfit(exact[:, column], corrected.fields["evs"][:, column], 1)[0]
        assert slope == pytest.approx(1, abs=0.05)
    pull = (corrected.fields["evs"] - exact) / corrected.fields["stds"]
    assert np.abs(pull).max() < 5
    assert np.sqrt(np.mean(pull**2)) == pytest.approx(1, abs=0.2)
    assert (corrected.fields["stds"] > raw.fields["stds"]).mean() > 0.9


@pytest.mark.parametrize("twirled", [False, True])
def test_standard_errors_cover_the_truth_as_often_as_they_claim(twirled):
    # Terms measured together hang together: taken as independent, errors would be far off here.
    observables = ObservablesArray([{ZI: 1.0, _label({1: "Z"}): 1.0, ZZ: 0.5}])
    circuit = QuantumCircuit(6)
    circuit.sx(4)
    circuit.cx(4, 1)
    points = np.zeros((500, 0))
    exact = 0.5
    noise, readout = None, None
    recipe = Recipe(Sizes(1, 200))
    jobs = 1
    if twirled:
        noise = NoiseModel()
        noise.add_all_qubit_readout_error(ReadoutError([[0.95, 0.05], [0.1, 0.9]]))
        recipe, readout, jobs = Recipe(Sizes(20, 10), twirl_measures=True), Sizes(20, 30), 30
        points = np.zeros((20, 0))
    within, spread, claimed = [], [], []
    for seed in range(jobs):
        (found,), _, _ = _estimate([(Pub(circuit, observables, points), recipe)], readout, noise, seed + 1)
        pull = (found.fields["evs"] - exact) / found.fields["stds"]
        within.append([np.mean(np.abs(pull) < 1), np.mean(np.abs(pull) < 2)])
        spread.append(np.mean((found.fields["evs"] - exact) ** 2))
        claimed.append(np.mean(found.fields["stds"] ** 2))
    one, two = np.mean(within, axis=0)
    assert one == pytest.approx(0.683, abs=0.08)
    assert two == pytest.approx(0.954, abs=0.05)
    assert np.mean(spread) == pytest.approx(np.mean(claimed), rel=0.3)
    # As if independent, the variance would have been (1 + 1) / shots instead of 4 / shots.
    assert np.mean(claimed) > 3 / 200


@pytest.mark.parametrize("amplifier", ["gate_folding", "gate_folding_front", "gate_folding_back", "pea"])
def test_zne_reduces_the_bias_and_reports_a_larger_error(amplifier):
    observables = ObservablesArray([ZZ])
    points = np.tile([[0.4, 1.1]], (30, 1))
    circuit = _circuit(1)
    exact = _exact(circuit, observables, points[:1])[0]
    pub = Pub(circuit, observables, points)
    plain = Recipe(Sizes(16, 128), twirl_gates=True, twirl_measures=True)
    zne = Zne((1.0, 2.0, 3.0), amplifier, ("exponential", "linear"))
    recipe = Recipe(
        Sizes(16, 128),
        twirl_gates=True,
        twirl_measures=True,
        zne=zne,
        noises=(_known(),) * (amplifier == "pea"),
    )
    (raw,), _, _ = _estimate([(pub, plain)], None, _gate_noise())
    (found,), plan, items = _estimate([(pub, recipe)], None, _gate_noise())
    bias = abs(raw.fields["evs"].mean() - exact)
    assert bias > 0.08
    fields = found.fields
    assert abs(fields["evs"].mean() - exact) < bias / 3
    assert fields["stds"].mean() > 1.5 * raw.fields["stds"].mean()
    assert np.std(fields["evs"]) == pytest.approx(fields["stds"].mean(), rel=0.35)
    assert fields["evs_noise_factors"].shape == fields["stds_noise_factors"].shape == (30, 3)
    assert fields["ensemble_stds_noise_factors"].shape == (30, 3)
    assert fields["evs_extrapolated"].shape == fields["stds_extrapolated"].shape == (30, 2, 4)
    assert "ensemble_standard_error" not in fields
    first = np.array(
        [name == "exponential" for name in plan.pubs[0].metadata["resilience"]["zne"]["extrapolator"]]
    )
    np.testing.assert_allclose(fields["evs"][first], fields["evs_extrapolated"][first, 0, 0])
    assert first.mean() > 0.9
    means = fields["evs_noise_factors"].mean(axis=0)
    assert means[0] == pytest.approx(raw.fields["evs"].mean(), abs=0.02)
    assert abs(means[0]) > abs(means[1]) > abs(means[2])
    assert len(items) == (1 if amplifier == "pea" else 3)


def test_pea_amplifies_by_the_factor_that_it_claims():
    observables = ObservablesArray([ZZ, XY, ZI])
    points = np.tile([[0.4, 1.1]], (40, 1, 1))
    zne = Zne((1.0, 1.5, 4.0), "pea", ("linear",))
    recipe = Recipe(Sizes(16, 64), twirl_measures=True, zne=zne, noises=(_known(),))
    (found,), plan, _ = _estimate([(Pub(_circuit(), observables, points), recipe)], None, _gate_noise())
    exact = _exact(_circuit(), observables, points[:1])[0]
    stronger = [
        _estimate(
            [(Pub(_circuit(), observables, points), Recipe(Sizes(16, 64), True, True))],
            None,
            _gate_noise({label: factor * rate for label, rate in RATES.items()}),
            seed=7,
        )[0][0].fields
        for factor in (1.0, 1.5, 4.0)
    ]
    for index, fields in enumerate(stronger):
        ours = found.fields["evs_noise_factors"][..., index].mean(axis=0)
        theirs = fields["evs"].mean(axis=0)
        spread = found.fields["stds_noise_factors"][..., index].mean(axis=0)
        errors = np.hypot(spread, fields["stds"].mean(axis=0)) / np.sqrt(40)
        assert (np.abs(ours - theirs) < 5 * errors).all()
        assert (np.abs(ours - exact) / errors).max() > 10
    layer_noise = plan.pubs[0].metadata["resilience"]["layer_noise"]
    assert layer_noise["total_mitigated_layers"] == 3
    assert layer_noise["unique_mitigated_layers"] == 1


def test_pec_is_unbiased_at_the_predicted_overhead():
    observables = ObservablesArray([ZI, XY])
    points = np.random.default_rng(4).uniform(0, 6, (6, 1, 2))
    pub = Pub(_circuit(), observables, points)
    exact = _exact(_circuit(), observables, points)
    gamma = np.exp(2 * 3 * sum(RATES.values()))
    recipe = Recipe(Sizes(150, 3), twirl_measures=True, pec=Pec(100), noises=(_known(),))
    (found,), plan, items = _estimate([(pub, recipe)], None, _gate_noise())
    (raw,), _, _ = _estimate([(pub, Recipe(Sizes(150, 3), True, True))], None, _gate_noise())
    resilience = plan.pubs[0].metadata["resilience"]
    assert resilience["pec"]["num_randomizations_scaling"] == pytest.approx(gamma**2)
    assert resilience["layer_noise"]["noise_overhead"] == pytest.approx(gamma**2)
    assert resilience["layer_noise"]["unique_mitigated_layers_noise_overhead"] == [
        pytest.approx(gamma ** (2 / 3))
    ]
    randomizations = plan.pubs[0].metadata["num_randomizations"]
    assert randomizations == int(np.ceil(150 * gamma**2))
    assert len(items[0].parameter_values) % randomizations == 0
    pull = (found.fields["evs"] - exact) / found.fields["stds"]
    assert np.abs(pull).max() < 5
    assert np.sqrt(np.mean(pull**2)) == pytest.approx(1, abs=0.3)
    assert np.sqrt(np.mean(((raw.fields["evs"] - exact) / raw.fields["stds"]) ** 2)) > 2.5
    # gamma**2 times the randomisations make up for gamma times the spread.
    spread = np.sqrt(1 - (exact / gamma) ** 2) / np.sqrt(450)
    np.testing.assert_allclose(found.fields["ensemble_standard_error"], spread, rtol=0.1)
    assert (found.fields["stds"] >= 0.85 * spread).all()
    assert (found.fields["stds"] < 1.6 * spread).all()


@pytest.mark.parametrize("gain", [0.5, 1.0, 2.0])
def test_noise_gain_leaves_that_share_of_the_noise(gain):
    observables = ObservablesArray([ZZ])
    points = np.tile([[0.4, 1.1]], (6, 1))
    pub = Pub(_circuit(), observables, points)
    recipe = Recipe(Sizes(300, 1), twirl_measures=True, pec=Pec(100, gain), noises=(_known(),))
    (found,), _, _ = _estimate([(pub, recipe)], None, _gate_noise())
    weaker = _gate_noise({label: gain * rate for label, rate in RATES.items()})
    (expected,), _, _ = _estimate([(pub, Recipe(Sizes(300, 1), True, True))], None, weaker)
    error = np.hypot(found.fields["stds"].mean(), expected.fields["stds"].mean()) / np.sqrt(6)
    assert found.fields["evs"].mean() == pytest.approx(expected.fields["evs"].mean(), abs=5 * error)


def test_the_overhead_is_limited_as_asked():
    pub = Pub(_circuit(), ObservablesArray([ZZ]), np.zeros((1, 2)))
    total = 3 * sum(RATES.values())
    for pec, scaling in (
        (Pec(2.0), 2.0),
        (Pec(2.0, 0.0), 2.0),
        (Pec(None), np.exp(4 * total)),
        (Pec(100.0, 0.5), np.exp(2 * total)),
        (Pec(100.0, 3.0), 1.0),
    ):
        recipe = Recipe(Sizes(50, 1), twirl_measures=True, pec=pec, noises=(_known(),))
        _, plan = plan_job([(pub, recipe)], None, np.random.default_rng(1))
        found = plan.pubs[0].metadata["resilience"]["pec"]["num_randomizations_scaling"]
        assert found == pytest.approx(scaling)
    huge = LayerNoise(LAYER, PauliLindbladMap.from_list([("ZZ", 50.0)]))
    recipe = Recipe(Sizes(50, 1), twirl_measures=True, pec=Pec(None), noises=(huge,))
    with pytest.raises(JobError, match="sampling overhead"):
        plan_job([(pub, recipe)], None, np.random.default_rng(1))


def test_layers_to_learn_are_those_not_known():
    pub = Pub(_circuit(), ObservablesArray([ZZ]), np.zeros((1, 2)))
    unknown = Recipe(Sizes(5, 1), twirl_measures=True, pec=Pec())
    known = Recipe(Sizes(5, 1), twirl_measures=True, pec=Pec(), noises=(_known(),))
    plain = Recipe(Sizes(5, 1), twirl_gates=True)
    assert needed_layers([(pub, unknown)]) == [LAYER]
    assert needed_layers([(pub, known), (pub, plain)]) == []


def test_projectors_and_trex_exclude_each_other():
    pub = Pub(_circuit(), ObservablesArray([_label({4: "0"})]), np.zeros((1, 2)))
    with pytest.raises(JobError, match="projectors"):
        plan_job([(pub, Recipe(Sizes(5, 1), twirl_measures=True))], Sizes(5, 5), np.random.default_rng(1))


def test_every_qubit_can_be_measured_in_more_than_64_bits():
    circuit = QuantumCircuit(80)
    for qubit in range(0, 80, 2):
        circuit.x(qubit)
    terms = [("Z" * 80, list(range(80)), 1.0), ("ZZ", [3, 70], 0.5), ("Z", [79], 0.25)]
    observables = ObservablesArray([SparseObservable.from_sparse_list(terms, 80)])
    pub = Pub(circuit, observables, np.zeros((1, 0)))
    items, plan = plan_job([(pub, Recipe(Sizes(6, 5), twirl_measures=True))], None, np.random.default_rng(1))
    outcomes = aer_qpu.run(items, method="stabilizer", seed=1)
    (found,) = evaluate_job(plan, outcomes)
    assert found.fields["evs"] == pytest.approx(1.0 - 0.5 + 0.25)
    assert found.fields["stds"] == pytest.approx(0)


def test_a_noisy_gate_is_what_the_tests_mean_by_it():
    # The depolarizing channel shrinks every Pauli alike: an independent check of the runner.
    noise = NoiseModel()
    noise.add_all_qubit_quantum_error(depolarizing_error(0.1, 2), ["cz"])
    pub = Pub(_circuit(0), ObservablesArray([ZZ]), np.array([[0.4, 1.1]]))
    (found,), _, _ = _estimate([(pub, Recipe(Sizes(1, 100_000)))], None, noise)
    exact = _exact(_circuit(0), pub.observables, pub.points)
    np.testing.assert_allclose(found.fields["evs"], 0.9 * exact, atol=5 / np.sqrt(100_000))
