"""The estimator: payloads of the legacy class and by hand, against exact values, decoded by the client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab import context, decoded, device_noise, posted, run_unit, work
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparseObservable, SparsePauliOp, Statevector
from qiskit_aer.noise import NoiseModel, ReadoutError, pauli_error
from qiskit_ibm_runtime import EstimatorV2, RuntimeEncoder
from qiskit_ibm_runtime.decoders.executor.decoder import ExecutorResultDecoder
from qiskit_ibm_runtime.decoders.executor_estimator.decoder import ClientSideEstimatorDecoder
from qiskit_ibm_runtime.executor_estimator import Estimator as ExecutorEstimator

from ketline.programs.base import Prepared, Result, open_params, program
from ketline.units.errors import JobError

TEXT = 'OPENQASM 3.0; include "stdgates.inc"; x $0; rz(0.3) $1; x $1; id $2;'


def ansatz() -> QuantumCircuit:
    """Three rotations about x and a chain of cx on qubits 1, 2, 3 of five."""
    angles = ParameterVector("a", 3)
    circuit = QuantumCircuit(5)
    for qubit, angle in zip((1, 2, 3), angles, strict=True):
        circuit.rz(np.pi / 2, qubit)
        circuit.sx(qubit)
        circuit.rz(angle + np.pi, qubit)
        circuit.sx(qubit)
        circuit.rz(np.pi / 2, qubit)
    circuit.cx(1, 2)
    circuit.cx(2, 3)
    return circuit


def exact(circuit: QuantumCircuit, observable: Any, values: Any = None) -> float:
    bound = circuit if values is None else circuit.assign_parameters(values)
    if isinstance(observable, SparseObservable):
        observable = SparsePauliOp.from_sparse_observable(observable)
    return float(Statevector(bound).expectation_value(observable).real)


def run(pubs: list[Any], options: dict[str, Any] | None = None, noise: Any = None, **call: Any) -> Any:
    program_id, raw = posted(
        lambda machine: EstimatorV2(machine, options=options), lambda e: e.run(pubs, **call)
    )
    assert program_id == "estimator"
    return decoded(work("estimator", raw, context(), noise=noise))


def by_hand(params: dict[str, Any], **changes: Any) -> bytes:
    return work("estimator", json.dumps(params, cls=RuntimeEncoder).encode(), context(**changes))


def pauli_noise(rate: float = 0.02) -> NoiseModel:
    noise = NoiseModel()
    error = pauli_error([("II", 1 - 3 * rate), ("XZ", rate), ("ZI", rate), ("YX", rate)])
    noise.add_all_qubit_quantum_error(error, ["cx"])
    return noise


def readout_noise() -> NoiseModel:
    noise = NoiseModel()
    noise.add_all_qubit_readout_error(ReadoutError([[0.95, 0.05], [0.12, 0.88]]))
    return noise


@pytest.mark.parametrize("level", [0, 1, 2])
def test_observables_broadcast_against_sweeps(level: int) -> None:
    operators = [
        SparsePauliOp(["IIZZI", "IXXII"], [1.0, -0.5]),
        SparsePauliOp(["IZIII", "IIIII", "IIIYI"], [0.7, 0.25, 2.0]),
    ]
    observables = [[operator] for operator in operators]
    values = np.random.default_rng(3).uniform(-2, 2, (3, 3))
    # Seeded: near zero, the exponential fit of level 2 now and then has errors that are far too small.
    options = {"resilience_level": level, "seed_estimator": 5}
    result = run([(ansatz(), observables, values)], options, precision=0.02)
    expected = np.array([[exact(ansatz(), operator, row) for row in values] for operator in operators])
    data = result[0].data
    assert data.evs.shape == data.stds.shape == (2, 3)
    assert (data.stds > 0).all()
    assert (np.abs(data.evs - expected) < 5 * data.stds).all()


def test_fields_and_metadata_of_level_one() -> None:
    circuit = ansatz()
    circuit.metadata = {"name": "chain"}
    result = run([(circuit, SparsePauliOp("IIZII"), [0.1, 0.2, 0.3])])
    data = result[0].data
    assert list(data) == ["evs", "stds", "ensemble_standard_error"]
    assert data.evs.shape == ()
    assert isinstance(data.evs, np.ndarray)
    assert result[0].metadata == {
        "shots": 4096,
        "target_precision": 0.015625,
        "circuit_metadata": {"name": "chain"},
        "num_randomizations": 32,
        "resilience": {},
    }
    assert result.metadata == {
        "dynamical_decoupling": {
            "enable": False,
            "sequence_type": "XX",
            "extra_slack_distribution": "middle",
            "scheduling_method": "alap",
        },
        "twirling": {
            "enable_gates": False,
            "enable_measure": True,
            "num_randomizations": "auto",
            "shots_per_randomization": "auto",
            "interleave_randomizations": True,
            "strategy": "active-accum",
        },
        "resilience": {"measure_mitigation": True, "zne_mitigation": False, "pec_mitigation": False},
        "version": 2,
    }


def test_precision_may_be_given_anywhere() -> None:
    observable = SparsePauliOp("IIZII")
    pubs = [(ansatz(), observable, [0.1, 0.2, 0.3], p) for p in (0.1, 0.05)]
    result = run([*pubs, (ansatz(), observable, [0.1, 0.2, 0.3])], {"resilience_level": 0}, precision=0.2)
    assert [pub.metadata["shots"] for pub in result] == [100, 400, 25]
    assert [pub.metadata["target_precision"] for pub in result] == [0.1, 0.05, 0.2]
    result = run([(ansatz(), observable, [0.1, 0.2, 0.3])], {"resilience_level": 0, "default_shots": 77})
    assert result[0].metadata["shots"] == 77
    result = run([(ansatz(), observable, [0.1, 0.2, 0.3])], {"resilience_level": 0, "default_precision": 0.1})
    assert result[0].metadata["shots"] == 100


def test_readout_mitigation_removes_the_bias() -> None:
    circuit, observable = ansatz(), SparsePauliOp("IZZZI")
    values = [0.3, 0.4, 0.2]
    truth = exact(circuit, observable, values)
    plain = run([(circuit, observable, values)], {"resilience_level": 0}, readout_noise(), precision=0.01)
    assert abs(plain[0].data.evs - truth) > 15 * plain[0].data.stds
    learning = {"num_randomizations": 64, "shots_per_randomization": 256}
    options = {"resilience": {"measure_mitigation": True, "measure_noise_learning": learning}}
    corrected = run([(circuit, observable, values)], options, readout_noise(), precision=0.01)
    assert abs(corrected[0].data.evs - truth) < 5 * corrected[0].data.stds
    assert corrected[0].data.stds > plain[0].data.stds


def test_extrapolation_reduces_the_bias_and_costs_precision() -> None:
    circuit, observable = ansatz(), SparsePauliOp("IZIII")
    for _ in range(3):
        circuit.cx(1, 2)
        circuit.cx(1, 2)
    values = [0.3, 0.4, 0.2]
    truth = exact(circuit, observable, values)
    noise = pauli_noise(0.006)
    plain = run([(circuit, observable, values)], {"resilience_level": 1}, noise, precision=0.01)
    zne = {"noise_factors": [1, 3, 5], "extrapolator": ["exponential", "linear"]}
    options = {"resilience_level": 2, "resilience": {"zne": zne}}
    result = run([(circuit, observable, values)], options, noise, precision=0.01)
    data = result[0].data
    assert abs(plain[0].data.evs - truth) > 5 * plain[0].data.stds
    assert abs(data.evs - truth) < abs(plain[0].data.evs - truth) / 2 + 3 * data.stds
    assert data.stds > plain[0].data.stds
    assert set(data) == {
        "evs", "stds", "evs_noise_factors", "stds_noise_factors", "ensemble_stds_noise_factors",
        "evs_extrapolated", "stds_extrapolated",
    }  # fmt: skip
    assert data.evs_noise_factors.shape == data.stds_noise_factors.shape == (3,)
    assert data.evs_extrapolated.shape == data.stds_extrapolated.shape == (2, 4)
    assert np.all(np.diff(data.evs_noise_factors) < 0)
    assert result[0].metadata["resilience"]["zne"]["extrapolator"] in ("exponential", "linear")
    assert result.metadata["resilience"]["zne"] == {
        "noise_factors": [1, 3, 5],
        "extrapolator": ["exponential", "linear"],
        "extrapolated_noise_factors": [0, 1, 3, 5],
    }


def cancellation_options() -> dict[str, Any]:
    return {
        "resilience_level": 0,
        "resilience": {
            "pec_mitigation": True,
            "layer_noise_learning": {
                "layer_pair_depths": [0, 2, 6],
                "num_randomizations": 24,
                "shots_per_randomization": 64,
            },
        },
        "twirling": {"strategy": "active"},
    }


def cancelled() -> tuple[QuantumCircuit, SparsePauliOp, float]:
    circuit = QuantumCircuit(5)
    for _ in range(4):
        circuit.cx(0, 1)
        circuit.sx(0)
    observable = SparsePauliOp(["IIIZI", "IIIIY"], [0.5, 1.0])
    return circuit, observable, exact(circuit, observable)


def test_cancellation_learns_first_and_is_unbiased(tmp_path: Path) -> None:
    circuit, observable, truth = cancelled()
    noise = pauli_noise(0.012)
    plain = run([(circuit, observable)], {"resilience_level": 0}, noise, precision=0.01)
    assert abs(plain[0].data.evs - truth) > 5 * plain[0].data.stds
    _, raw = posted(
        lambda machine: EstimatorV2(machine, options=cancellation_options()),
        lambda e: e.run([(circuit, observable)], precision=0.02),
    )
    where = context(cache_folder=tmp_path / "session")
    made = program("estimator")
    first = made.prepare(open_params(raw, where.limits), where)
    second = made.finalize(first.state, run_unit(first.unit, noise, 1), where)
    assert isinstance(second, Prepared), "what was learned is used in another round"
    ended = made.finalize(second.state, run_unit(second.unit, noise, 500), where)
    assert isinstance(ended, Result)
    result = decoded(ended.body)
    assert abs(result[0].data.evs - truth) < 5 * result[0].data.stds
    told = result[0].metadata["resilience"]
    assert told["pec"]["num_randomizations_scaling"] > 1
    assert told["layer_noise"]["unique_mitigated_layers"] == 1
    assert told["layer_noise"]["total_mitigated_layers"] == 4
    assert told["layer_noise"]["noise_overhead"] > 1
    (layer,) = result.metadata["resilience"]["layer_noise_model"]
    assert layer.qubits == [0, 1]
    # A later job of the session doesn't learn again, and neither does one that brings the model along.
    again = made.prepare(open_params(raw, where.limits), where)
    assert isinstance(made.finalize(again.state, run_unit(again.unit, noise, 900), where), Result)
    options = cancellation_options()
    options["resilience"]["layer_noise_model"] = [layer]
    _, raw = posted(
        lambda machine: EstimatorV2(machine, options=options),
        lambda e: e.run([(circuit, observable)], precision=0.02),
    )
    given = made.prepare(open_params(raw, where.limits), context())
    result = decoded(made.finalize(given.state, run_unit(given.unit, noise, 77), context()).body)
    assert abs(result[0].data.evs - truth) < 5 * result[0].data.stds
    assert len(result.metadata["resilience"]["layer_noise_model"]) == 1


def test_amplified_noise_is_what_it_claims() -> None:
    """PEA at factor 3 gives what three times the rates give."""
    from qiskit.quantum_info import PauliList
    from qiskit_ibm_runtime.results.noise_learner import LayerError, PauliLindbladError

    rate = 0.02
    layer = QuantumCircuit(2)
    layer.cx(0, 1)
    error = PauliLindbladError(PauliList(["XI", "ZZ"]), [rate, rate])
    noise = NoiseModel()
    flip = (1 - np.exp(-2 * rate)) / 2
    for word in ("XI", "ZZ"):
        noise.add_all_qubit_quantum_error(
            pauli_error([(word, flip), ("II", 1 - flip)]), ["cx"], warnings=False
        )
    circuit = QuantumCircuit(5)
    for _ in range(4):
        circuit.cx(0, 1)
        circuit.barrier(0, 1)
    options = {
        "resilience_level": 2,
        # Injected Paulis are rare: few randomisations may have none, and then see no spread either.
        "twirling": {"num_randomizations": 256},
        "resilience": {
            "layer_noise_model": [LayerError(layer, [0, 1], error)],
            "zne": {"amplifier": "pea", "noise_factors": [1, 2, 3], "extrapolator": "exponential"},
        },
    }
    result = run([(circuit, SparsePauliOp("IIIZI"))], options, noise, precision=0.01)
    data = result[0].data
    # X on qubit 1 turns Z on it after each of the four cx; rates of one and the same sign add up.
    expected = np.exp(-2 * rate * 4 * np.array([1, 2, 3]))
    assert (np.abs(data.evs_noise_factors - expected) < 5 * data.stds_noise_factors).all()
    assert abs(data.evs - 1) < 5 * data.stds


def test_both_of_the_clients_classes_agree() -> None:
    circuit, observable = ansatz(), SparsePauliOp(["IIZZI", "IXXII", "IIIYI"], [1.0, -0.5, 0.3])
    values = np.array([[0.3, -0.4, 1.2], [2.0, 0.1, 0.7]])
    noise = readout_noise()
    for level in (0, 1):
        legacy = run([(circuit, observable, values)], {"resilience_level": level}, noise, precision=0.02)
        _, raw = posted(
            lambda machine: ExecutorEstimator(machine, options={"resilience_level": level}),  # noqa: B023
            lambda e: e.run([(circuit, observable, values)], precision=0.02),
        )
        body = work("executor", raw, context(), noise=noise)
        client = ClientSideEstimatorDecoder.decode(ExecutorResultDecoder.decode(body.decode()))
        spread = np.hypot(legacy[0].data.stds, client[0].data.stds)
        assert (np.abs(legacy[0].data.evs - client[0].data.evs) < 5 * spread).all()


def test_decoupled_circuits_are_scheduled_and_still_right() -> None:
    circuit, observable = ansatz(), SparsePauliOp("IIZZI")
    options = {"dynamical_decoupling": {"enable": True, "sequence_type": "XY4"}, "resilience_level": 1}
    _, raw = posted(
        lambda machine: EstimatorV2(machine, options=options),
        lambda e: e.run([(circuit, observable, [0.1, 0.2, 0.3])], precision=0.05),
    )
    unit = program("estimator").prepare(open_params(raw, context().limits), context()).unit
    assert unit.idle_noise
    assert unit.items[0].circuit.count_ops()["delay"] > 0
    result = decoded(work("estimator", raw, context()))
    assert abs(result[0].data.evs - exact(circuit, observable, [0.1, 0.2, 0.3])) < 5 * result[0].data.stds
    assert result.metadata["dynamical_decoupling"]["sequence_type"] == "XY4"


def test_control_flow_and_measurement_in_the_middle() -> None:
    circuit = QuantumCircuit(5, 1)
    circuit.sx(0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    result = run([(circuit, [SparsePauliOp("IIIZZ"), SparsePauliOp("IIIZI")])], {"resilience_level": 1})
    assert (np.abs(result[0].data.evs - [1, 0]) < 5 * result[0].data.stds + 1e-9).all()


def test_what_can_be_observed() -> None:
    circuit = QuantumCircuit(5)
    circuit.x(0)
    circuit.rz(np.pi / 2, 1)
    circuit.sx(1)
    circuit.rz(np.pi / 2, 1)
    params = {"pubs": [[circuit, ["IIII1", "III+0", "III+1", "IIIrZ"], None, 0.02]], "resilience_level": 0}
    data = decoded(by_hand(params))[0].data
    expected = [
        1,
        0,
        exact(circuit, SparseObservable.from_label("III+1")),
        exact(circuit, SparseObservable("IIIrZ")),
    ]
    assert (np.abs(data.evs - expected) < 5 * data.stds + 1e-9).all()
    # Corrected for readout errors they are sums of Paulis, of which there may be too many.
    raw = json.dumps({**params, "resilience_level": 1}, cls=RuntimeEncoder).encode()
    corrected = decoded(work("estimator", raw, context(), noise=device_noise()))[0].data
    raw = json.dumps(params, cls=RuntimeEncoder).encode()
    plain = decoded(work("estimator", raw, context(), noise=device_noise()))[0].data
    assert (np.abs(corrected.evs - expected) < 5 * corrected.stds + 1e-9).all()
    assert np.abs(plain.evs - expected).max() > np.abs(corrected.evs - expected).max()
    wide = {"pubs": [["OPENQASM 3.0; qubit[13] q;", "0" * 13]]}
    with pytest.raises(JobError, match="8192 Pauli words in one observable; 4096 can be corrected"):
        work("estimator", json.dumps(wide).encode(), context("guadalupe"))


def test_requests_by_hand() -> None:
    params = {
        "pubs": [
            [TEXT, "ZII"],
            [TEXT, ["IIZ", "IZI", "ZII"]],
            [TEXT, {"IIZ": 2.0, "III": 1.0}],
            [TEXT, [["IIZ", 2.0], ["ZII", 0.5]]],
            [TEXT, [[{"IIZ": 1}], [{"ZII": 1}]]],
        ],
        "resilience_level": 0,
        "support_qiskit": False,
        "options": {"default_shots": 50},
    }
    params["pubs"] = [
        [part.replace("id $2;", "x $2; x $2;") if part == TEXT else part for part in pub]
        for pub in params["pubs"]
    ]
    body = json.loads(by_hand(params))
    assert [pub["data"]["evs"] for pub in body["results"]] == [1, [-1, -1, 1], -1, -1.5, [[-1], [1]]]
    assert body["results"][0]["data"]["stds"] == 0
    assert body["results"][0]["metadata"]["shots"] == 50


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"resilience_level": 3}, "resilience_level"),
        ({"options": {"resilience_level": 1}}, r"options\.resilience_level"),
        ({"options": {"resilience": {"zne": {"magic": 1}}}}, r"resilience\.zne\.magic"),
        ({"options": {"resilience": {"zne": {"extrapolator": "cubic"}}}}, "extrapolator"),
        (
            {"options": {"resilience": {"zne": {"noise_factors": [1], "extrapolator": "linear"}}}},
            "noise_factors",
        ),
        ({"options": {"resilience": {"pec_mitigation": True, "zne_mitigation": True}}}, "resilience"),
        ({"options": {"resilience": {"layer_noise_model": [{"x": 1}]}}}, "layer_noise_model"),
        ({"options": {"execution": {"meas_type": "kerneled"}}}, "meas_type"),
        ({"options": {"default_precision": 0}}, "default_precision"),
        ({"options": {"experimental": {"execution": {"scheduler_timing": True}}}}, "experimental"),
        ({"pubs": [[TEXT, "ZZ"]]}, "2 letters"),
        ({"pubs": [[TEXT, "ZZA"]]}, "ZZA"),
        ({"pubs": [[TEXT, {"ZZI": "1"}]]}, "coefficient"),
        ({"pubs": [[TEXT, {}]]}, "without terms"),
        ({"pubs": [[TEXT, [["ZZI"], ["ZZI", "IIZ"]]]]}, "ragged"),
        ({"pubs": [[TEXT]]}, "observable"),
        ({"pubs": [[TEXT, "ZZI", None, 0]]}, "precision"),
        ({"pubs": [[TEXT.replace("x $0", "h $0"), "ZZI"]]}, "instruction h on qubits"),
        ({"turbo": 1}, "turbo"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], words: str) -> None:
    params = {"pubs": [[TEXT.replace("id $2;", ""), "ZZI"]], **change}
    with pytest.raises(JobError, match=words):
        by_hand(params)


def test_seeded_jobs_are_prepared_alike() -> None:
    options = {"seed_estimator": 5}
    pubs = [(ansatz(), SparsePauliOp("IIZZI"), [0.1, 0.2, 0.3])]
    _, raw = posted(lambda machine: EstimatorV2(machine, options=options), lambda e: e.run(pubs))
    units = [
        program("estimator").prepare(open_params(raw, context().limits), context()).unit for _ in range(2)
    ]
    assert units[0].seed == 5
    for one, two in zip(units[0].items, units[1].items, strict=True):
        assert np.array_equal(one.parameter_values, two.parameter_values)


def test_preparing_is_quick_and_no_slower_by_circuit_for_many() -> None:
    import time

    def cost(count: int) -> float:
        pubs = [(ansatz(), SparsePauliOp("IIZZI"), [0.1, 0.2, 0.3])] * count
        _, raw = posted(EstimatorV2, lambda e: e.run(pubs))
        made, where = program("estimator"), context()
        best = np.inf
        for _ in range(3):
            start = time.process_time()
            made.prepare(open_params(raw, where.limits), where)
            best = min(best, time.process_time() - start)
        return best / count

    one, many = cost(1), cost(100)
    assert one < 0.02
    assert many < 1.5 * one + 0.0005


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_constant_is_known_without_measuring(level: int) -> None:
    result = run([(ansatz(), SparsePauliOp("IIIII", 2.5), [0.1, 0.2, 0.3])], {"resilience_level": level})
    assert result[0].data.evs == 2.5
    assert result[0].data.stds == 0.0


def test_text_with_the_devices_qubits_may_be_observed_as_wide_as_the_device() -> None:
    text = TEXT.replace("id $2;", "rz(0.1) $2;")
    wide = {"pubs": [[text, ["IIZZZ", {"ZIIII": 1.0}], None, 0.02]], "resilience_level": 1}
    narrow = {"pubs": [[text, ["ZZZ", "IIZ"], None, 0.02]], "resilience_level": 1}
    assert decoded(by_hand(wide))[0].data.evs == pytest.approx([1.0, 1.0], abs=0.1)
    assert decoded(by_hand(narrow))[0].data.evs == pytest.approx([1.0, -1.0], abs=0.1)
    with pytest.raises(JobError, match="4 letters; the circuit has 3 qubits"):
        by_hand({"pubs": [[text, "ZZZZ"]]})


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_dry_run_has_finite_values_in_the_right_shapes(level: int) -> None:
    circuit = ansatz()
    words = [["IIIZI"], ["ZZZZZ"], ["XXXXX"]]
    points = np.zeros((4, 3))
    pubs = [[circuit, [[{word: 1.0} for word in row] for row in words], points, 0.3]]
    # So little is learned of the readout that random bits often show none of it: a correction by 1 / 0.
    learning = {"measure_noise_learning": {"num_randomizations": 1, "shots_per_randomization": 2}}
    params = {"pubs": pubs, "resilience_level": level, "options": {"resilience": learning}}
    for _ in range(5):
        data = decoded(by_hand(params, mock=True))[0].data
        assert all(np.isfinite(getattr(data, name)).all() for name in data)
        assert data.evs.shape == (3, 4)
