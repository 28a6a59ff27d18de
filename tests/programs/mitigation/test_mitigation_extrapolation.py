import numpy as np
import pytest
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import Operator
from qiskit_mitigation.zne.extrapolation import _process_extrapolated_expectation_values

from ketline.programs.mitigation.extrapolate import REQUIRED_FACTORS, choose, extrapolate
from ketline.programs.mitigation.folding import Folding
from ketline.units.errors import JobError

FACTORS = np.array([1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
NAMES = list(REQUIRED_FACTORS)


def _data(sets, spread, seed=1):
    rng = np.random.default_rng(seed)
    size, rate = rng.uniform(-1, 1, (sets, 1)), rng.uniform(0.02, 0.5, (sets, 1))
    truth = 0.7 * size * np.exp(-rate * FACTORS) + 0.3 * size * np.exp(-3 * rate * FACTORS)
    return truth + rng.normal(0, spread, truth.shape), np.full(truth.shape, spread)


def test_fits_and_choices_are_those_of_the_client():
    names = ["exponential", "linear", "polynomial_degree_3", "polynomial_degree_7", "fallback"]
    values, errors = _data(25, 0.01)
    fits = extrapolate(names, FACTORS, values, errors, np.array([0.0, 1.0, 2.5]))
    chosen = choose(fits.values[:, :, 0], fits.errors(errors)[:, :, 0], ["XZ"] * 25)
    for i in range(25):
        value, _, name, evaluated, _ = _process_extrapolated_expectation_values(
            values[i], errors[i], "XZ", list(FACTORS), names, [1.0, 2.5]
        )
        np.testing.assert_allclose(fits.values[:, i, 1:], evaluated, atol=5e-5)
        assert names[chosen[i]] == name
        assert fits.values[chosen[i], i, 0] == pytest.approx(value, abs=5e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_finds_what_it_models_and_its_gradient_is_one(name):
    x = FACTORS
    if name == "fallback":
        truth, zero = 0.3 - 0.1 * x, 0.2
    elif name == "exponential":
        truth, zero = 0.8 * np.exp(-0.3 * x), 0.8
    elif name == "double_exponential":
        truth, zero = 0.5 * np.exp(-0.1 * x) + 0.4 * np.exp(-1.1 * x), 0.9
    else:
        degree = 1 if name == "linear" else int(name[-1])
        coefficients = np.random.default_rng(degree).normal(0, 1, degree + 1) / 5.0 ** np.arange(degree + 1)
        truth, zero = np.polynomial.polynomial.polyval(x, coefficients), coefficients[0]
    errors = np.full((1, len(x)), 0.01)
    fits = extrapolate([name], x, truth[None], errors, np.array([0.0]))
    assert fits.values[0, 0, 0] == pytest.approx(zero, abs=1e-5)
    step = 1e-6
    for f in range(len(x)):
        moved = truth.copy()
        moved[f] += step
        value = extrapolate([name], x, moved[None], errors, np.array([0.0])).values[0, 0, 0]
        assert (value - fits.values[0, 0, 0]) / step == pytest.approx(
            fits.gradients[0, 0, 0, f], rel=2e-3, abs=2e-3 * abs(fits.gradients).max()
        )


@pytest.mark.parametrize("name", ["exponential", "linear", "polynomial_degree_2"])
def test_errors_are_as_large_as_the_scatter(name):
    rng = np.random.default_rng(5)
    x, spread = np.array([1.0, 3.0, 5.0]), 0.01
    truth = 0.8 * np.exp(-0.1 * x) if name == "exponential" else 0.8 - 0.1 * x
    values = truth + rng.normal(0, spread, (4000, 3))
    errors = np.full(values.shape, spread)
    fits = extrapolate([name], x, values, errors, np.array([0.0]))
    claimed = fits.errors(errors)[0, :, 0]
    assert np.std(fits.values[0, :, 0]) == pytest.approx(claimed.mean(), rel=0.06)
    assert claimed.mean() > spread


def test_what_no_fit_explains_is_passed_over():
    values = np.array([[0.9, 0.1, 0.9], [0.5, 0.4, 0.3]])
    errors = np.full(values.shape, 0.001)
    factors = np.array([1.0, 1.01, 5.0])
    fits = extrapolate(["polynomial_degree_2", "fallback"], factors, values, errors, np.array([0.0]))
    chosen = choose(fits.values[:, :, 0], fits.errors(errors)[:, :, 0], ["Z", "Z"])
    assert abs(fits.values[0, 0, 0]) > 2
    assert chosen[0] == 1


def test_projectors_have_a_narrower_range():
    values, errors = np.array([[-1.3], [0.2]]), np.array([[0.1], [0.1]])
    assert choose(values, errors, ["ZZ"]).tolist() == [0]
    assert choose(values, errors, ["01"]).tolist() == [1]


def test_too_few_factors_and_unknown_names_are_refused():
    with pytest.raises(ValueError, match="requires at least 4"):
        extrapolate(
            ["double_exponential"], np.array([1.0, 2.0]), np.ones((1, 2)), np.ones((1, 2)), np.zeros(1)
        )
    with pytest.raises(ValueError, match="cubic"):
        extrapolate(["cubic"], FACTORS, np.ones((1, 8)), np.ones((1, 8)), np.zeros(1))


@pytest.mark.parametrize(("factor", "gates"), [(1, 10), (1.4, 14), (2, 20), (3, 30), (3.6, 36), (5, 50)])
@pytest.mark.parametrize("method", ["gate_folding", "gate_folding_front", "gate_folding_back"])
def test_folding_multiplies_the_gates_and_keeps_the_circuit(factor, gates, method):
    circuit = QuantumCircuit(3)
    for k in range(10):
        circuit.sx(k % 3)
        (circuit.ecr if k % 2 else circuit.cz)(k % 2, k % 2 + 1)
    folded = Folding.choose(factor, method, np.random.default_rng(1)).fold(circuit)
    counted = folded.count_ops()
    assert counted["cz"] + counted["ecr"] == gates
    assert counted["sx"] == 10
    assert Operator(folded).equiv(Operator(circuit))


def test_the_method_says_which_gates_are_folded():
    circuit = QuantumCircuit(4)
    for _ in range(5):
        circuit.cz(0, 1)
    circuit.barrier()
    for _ in range(5):
        circuit.cz(2, 3)

    def on_first_pair(method):
        folded = Folding.choose(2, method, np.random.default_rng(1)).fold(circuit)
        return sum(i.operation.name == "cz" and folded.find_bit(i.qubits[0]).index == 0 for i in folded.data)

    assert (on_first_pair("gate_folding_front"), on_first_pair("gate_folding_back")) == (15, 5)
    assert 5 < on_first_pair("gate_folding") < 15


def test_what_cannot_be_folded_is_refused():
    circuit = QuantumCircuit(2, 1)
    circuit.rzz(0.3, 0, 1)
    with pytest.raises(JobError, match=r"zne\.amplifier: rzz"):
        Folding.choose(3, "gate_folding", np.random.default_rng(1)).fold(circuit)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    with pytest.raises(JobError, match="control flow"):
        Folding.choose(3, "gate_folding", np.random.default_rng(1)).fold(circuit)


def test_a_data_set_that_is_not_finite_fits_nothing_and_disturbs_no_other():
    factors, targets = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.0, 1.0])
    values = np.array([[0.8, 0.7, 0.6, 0.5], [np.inf, 0.7, np.nan, 0.5], [0.9, 0.8, 0.7, 0.6]])
    errors = np.full((3, 4), 0.01)
    names = ["exponential", "double_exponential", "linear", "fallback"]
    fits = extrapolate(names, factors, values, errors, targets)
    assert np.isnan(fits.values[:, 1]).all()
    assert np.isnan(fits.gradients[:, 1]).all()
    alone = extrapolate(names, factors, values[[0, 2]], errors[[0, 2]], targets)
    np.testing.assert_allclose(fits.values[:, [0, 2]], alone.values)


def test_a_fit_that_the_data_do_not_determine_still_has_a_value():
    """Two exponentials through one: they may be any pair of equal rates, and all of them agree at zero."""
    factors = np.arange(1.0, 9.0)
    values = np.stack([0.7 * np.exp(-0.1 * factors), 0.5 + 0 * factors])
    fits = extrapolate(["double_exponential"], factors, values, np.full((2, 8), 0.02), np.zeros(1))
    np.testing.assert_allclose(fits.values[0, :, 0], [0.7, 0.5], atol=0.02)
