"""The noise learner in all its forms learns the noise that is applied."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from lab import context, posted, work
from qiskit import QuantumCircuit
from qiskit.quantum_info import PauliLindbladMap
from qiskit_aer.noise import NoiseModel, ReadoutError, pauli_error
from qiskit_ibm_runtime import RuntimeEncoder
from qiskit_ibm_runtime.decoders.executor.decoder import ExecutorResultDecoder
from qiskit_ibm_runtime.decoders.executor_noise_learner.decoder import ClientSideNoiseLearnerResultDecoder
from qiskit_ibm_runtime.decoders.noise_learner import NoiseLearnerResultDecoder
from qiskit_ibm_runtime.decoders.noise_learner_v3.decoder import NoiseLearnerV3ResultDecoder
from qiskit_ibm_runtime.executor_noise_learner import NoiseLearnerV3 as ExecutorNoiseLearner
from qiskit_ibm_runtime.noise_learner import NoiseLearner
from qiskit_ibm_runtime.noise_learner_v3 import NoiseLearnerV3
from samplomatic import Twirl

from ketline.units.errors import JobError

OPTIONS = {"shots_per_randomization": 64, "num_randomizations": 16, "layer_pair_depths": [0, 2, 6]}
RATE = 0.02


def noise() -> NoiseModel:
    """After cx on (0, 1): X on qubit 0 and Z on qubit 1, both with RATE; readout errors of 3 and 5 %."""
    model = NoiseModel()
    flip = (1 - np.exp(-2 * RATE)) / 2
    error = pauli_error([("IX", flip), ("II", 1 - flip)]).compose(
        pauli_error([("ZI", flip), ("II", 1 - flip)])
    )
    model.add_all_qubit_quantum_error(error, ["cx"])
    model.add_all_qubit_readout_error(ReadoutError([[0.97, 0.03], [0.05, 0.95]]))
    return model


def fidelity(learned: PauliLindbladMap, word: str) -> float:
    from qiskit.quantum_info import QubitSparsePauli

    return float(learned.pauli_fidelity(QubitSparsePauli(word)))


def pair_fidelities(learned: PauliLindbladMap) -> None:
    """What two layers do to a Pauli can be learned: cx turns XI into XX, IZ into ZZ, and so on."""
    partner = {"IX": "XX", "ZI": "ZZ", "XI": "XI", "IZ": "IZ", "YZ": "YI"}
    applied = PauliLindbladMap.from_sparse_list([("X", [0], RATE), ("Z", [1], RATE)], num_qubits=2)
    for one, other in partner.items():
        expected = fidelity(applied, one) * fidelity(applied, other)
        assert fidelity(learned, one) * fidelity(learned, other) == pytest.approx(expected, abs=0.02), one


def boxes() -> QuantumCircuit:
    circuit = QuantumCircuit(5, 2)
    with circuit.box([Twirl()]):
        circuit.cx(0, 1)
    with circuit.box([Twirl()]):
        circuit.measure([0, 1], [0, 1])
    return circuit


def test_layers_of_circuits() -> None:
    circuit = QuantumCircuit(5)
    circuit.cx(0, 1)
    circuit.sx(0)
    circuit.cx(0, 1)
    circuit.cx(1, 2)
    program_id, raw = posted(
        lambda machine: NoiseLearner(machine, options={**OPTIONS, "max_layers_to_learn": 1}),
        lambda learner: learner.run([circuit]),
    )
    assert program_id == "noise-learner"
    body = work("noise-learner", raw, context(), noise=noise())
    assert b"schema_version" not in body, "the client tells the two forms apart by this word"
    result = NoiseLearnerResultDecoder.decode(body.decode())
    assert result.data[0].qubits == [0, 1]
    assert result.data[0].circuit.count_ops() == {"cx": 1}
    error = result.data[0].error
    learned = PauliLindbladMap.from_list(list(zip(error.generators.to_labels(), error.rates, strict=True)))
    pair_fidelities(learned)
    assert all(layer.error is None for layer in result.data[1:]), "no more than max_layers_to_learn"
    assert len(result.data) == 2
    assert result.metadata == {
        "backend": "ket_manila",
        "input_options": {**OPTIONS, "max_layers_to_learn": 1, "twirling_strategy": "active-accum"},
    }


def test_boxes_of_gates_and_measurements() -> None:
    program_id, raw = posted(
        lambda machine: NoiseLearnerV3(machine, options=OPTIONS),
        lambda learner: learner.run(list(boxes().data)),
    )
    assert program_id == "noise-learner"
    body = work("noise-learner", raw, context(), noise=noise())
    result = NoiseLearnerV3ResultDecoder.decode(body.decode())
    gates, readout = result.to_pauli_lindblad_maps()
    pair_fidelities(gates)
    told = json.loads(body)["data"]
    assert [one["metadata"]["learning_protocol"] for one in told] == ["lindblad", "trex"]
    assert told[0]["metadata"]["post_selection"]["fraction_kept"] == {"0": 1.0, "2": 1.0, "6": 1.0}
    # A twirled readout errs in 4 % of all cases.
    spread = np.sqrt(0.04 * 0.96 / (64 * 16))
    for qubit in (0, 1):
        word = "ZI" if qubit else "IZ"
        assert abs((1 - fidelity(readout, word)) / 2 - 0.04) < 5 * spread
    assert (result.data[1]._rates_std > 0).all()
    assert (result.data[1]._rates_std < 0.02).all()


def test_checks_leave_out_shots_in_which_a_qubit_did_not_flip() -> None:
    """Readout errors make a check fail: of two measurements with one error rate p, both or none must err."""
    error = 0.06
    model = NoiseModel()
    model.add_all_qubit_readout_error(ReadoutError([[1 - error, error], [error, 1 - error]]))
    circuit = QuantumCircuit(156, 2)
    with circuit.box([Twirl()]):
        circuit.cz(0, 1)
    with circuit.box([Twirl()]):
        circuit.measure([0, 1], [0, 1])
    post = {"enable": True, "x_pulse_type": "rx", "strategy": "node"}
    options = {**OPTIONS, "num_randomizations": 8, "bit_flip_checks": {"post_circuit": post}}
    _, raw = posted(
        lambda machine: NoiseLearnerV3(machine, options=options),
        lambda learner: learner.run(list(circuit.data)),
        "fez",
    )
    body = work("noise-learner", raw, context("fez"), noise=model)
    gates, readout = json.loads(body)["data"]
    success = 1 - 2 * error * (1 - error)
    shots = 8 * 64
    spread = 5 * np.sqrt(success * (1 - success) / shots)
    rates = readout["metadata"]["post_selection"]["success_rates"]
    assert set(rates) >= {"0", "1"}
    assert all(abs(rate - success) < spread for qubit, rate in rates.items() if qubit in "01")
    kept = readout["metadata"]["post_selection"]["fraction_kept"]
    assert kept < min(rates.values())
    for depth in ("0", "2", "6"):
        assert 0.5 < gates["metadata"]["post_selection"]["fraction_kept"][depth] < 0.9
        assert set(gates["metadata"]["post_selection"]["success_rates"][depth]) >= {"0", "1"}
    # An error that a kept shot may still have: both measurements erred.
    _, readout_map = NoiseLearnerV3ResultDecoder.decode(body.decode()).to_pauli_lindblad_maps()
    left = error**2 / (error**2 + (1 - error) ** 2)
    assert abs((1 - fidelity(readout_map, "IZ")) / 2 - left) < 5 * np.sqrt(left / (shots * kept)) < error


@pytest.mark.parametrize("version", ["v0.1", "v0.2"])
def test_older_versions_are_answered_in_kind(version: str) -> None:
    _, raw = posted(
        lambda machine: NoiseLearnerV3(machine, options=OPTIONS),
        lambda learner: learner.run(list(boxes().data)),
    )
    tree = json.loads(raw)
    tree["schema_version"] = version
    del tree["options"]["bit_flip_checks"]
    if version == "v0.1":
        from ibm_quantum_schemas.common import QpyModelV13ToV16

        tree["instructions"] = QpyModelV13ToV16.from_quantum_circuit(boxes(), qpy_version=16).model_dump()
        with pytest.raises(JobError):
            work("noise-learner", json.dumps(tree).encode(), context())
        return
    result = NoiseLearnerV3ResultDecoder.decode(
        work("noise-learner", json.dumps(tree).encode(), context()).decode()
    )
    assert len(result.data) == 2


def test_through_the_executor() -> None:
    program_id, raw = posted(
        lambda machine: ExecutorNoiseLearner(machine, options=OPTIONS),
        lambda learner: learner.run([boxes().data[0]]),
    )
    assert program_id == "executor"
    body = work("executor", raw, context(), noise=noise())
    result = ClientSideNoiseLearnerResultDecoder.decode(ExecutorResultDecoder.decode(body.decode()))
    (learned,) = result.to_pauli_lindblad_maps()
    pair_fidelities(learned)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tree: tree.update(schema_version="v9"), "v9"),
        (lambda tree: tree["options"].update(speed=1), r"options\.speed"),
        (lambda tree: tree["options"]["post_selection"].update(enable=True), "post_selection.*xslow"),
        (lambda tree: tree["options"].update(layer_pair_depths=[1]), "layer_pair_depths"),
        (lambda tree: tree["options"].update(num_randomizations=0), "num_randomizations"),
        (lambda tree: tree["options"].update(rep_delay=5.0), "rep_delay"),
        (lambda tree: tree["instructions"].update(qpy_version=14), "QPY"),
    ],
)
def test_what_is_wrong_with_boxes_is_named(change: Any, words: str) -> None:
    _, raw = posted(
        lambda machine: NoiseLearnerV3(machine, options=OPTIONS),
        lambda learner: learner.run(list(boxes().data)),
    )
    tree = json.loads(raw)
    tree["options"].setdefault("post_selection", {})
    change(tree)
    with pytest.raises(JobError, match=words):
        work("noise-learner", json.dumps(tree).encode(), context())


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "circuits"),
        ({"circuits": ["OPENQASM 3.0; h $0;"]}, "h on qubits|not OpenQASM"),
        ({"circuits": [], "options": {"depth": 1}}, r"options\.depth"),
        ({"circuits": [], "options": {"experimental": {"x": 1}}}, "experimental"),
        ({"circuits": [], "options": {"shots_per_randomization": 0}}, "shots_per_randomization"),
    ],
)
def test_what_is_wrong_with_circuits_is_named(params: dict[str, Any], words: str) -> None:
    with pytest.raises(JobError, match=words):
        work("noise-learner", json.dumps(params, cls=RuntimeEncoder).encode(), context())


def test_a_dry_run_has_the_same_form() -> None:
    _, raw = posted(
        lambda machine: NoiseLearnerV3(machine, options=OPTIONS),
        lambda learner: learner.run(list(boxes().data)),
    )
    result = NoiseLearnerV3ResultDecoder.decode(work("noise-learner", raw, context(mock=True)).decode())
    assert [one.num_qubits for one in result.to_pauli_lindblad_maps()] == [2, 2]
