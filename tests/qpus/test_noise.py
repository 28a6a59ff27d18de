"""The noise of a circuit is that of `NoiseModel.from_backend` for the whole device, to the last term."""

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import SuperOp
from qiskit_aer.noise import NoiseModel, QuantumError, depolarizing_error, thermal_relaxation_error
from qiskit_ibm_runtime.fake_provider import FakeFez, FakeManilaV2, FakeSherbrooke
from qpu_lab import device

from ketline.qpus.frames import twirled
from ketline.qpus.noise import DeviceNoise, _kind_of, channel, given_model
from ketline.units.errors import JobError


def kind(error: QuantumError) -> str:
    """What the terms of an error that Aer built are."""
    return _kind_of(entry.operation.name for circuit in error.circuits for entry in circuit.data)


@pytest.fixture(scope="module")
def manila() -> NoiseModel:
    return NoiseModel.from_backend(FakeManilaV2())


def test_every_gate_error_of_a_small_device_is_the_same(manila):
    ours = DeviceNoise(device("manila"))
    compared = 0
    for name, places in manila._local_quantum_errors.items():
        for qubits, error in places.items():
            assert ours.error(name, qubits) == error
            assert ours.kind([(name, qubits)]) == kind(error)
            compared += 1
    assert compared > 20
    assert ours.error("rz", (0,)) is None


def test_every_readout_error_of_a_small_device_is_the_same(manila):
    ours = DeviceNoise(device("manila"))
    assert len(manila._local_readout_errors) == 5
    for (qubit,), error in manila._local_readout_errors.items():
        assert ours.readout(qubit) == error


@pytest.mark.parametrize(
    ("name", "backend", "gate", "qubits"),
    [
        ("fez", FakeFez, "cz", (10, 11)), ("fez", FakeFez, "rzz", (10, 11)), ("fez", FakeFez, "reset", (5,)),
        ("sherbrooke", FakeSherbrooke, "ecr", (1, 0)), ("sherbrooke", FakeSherbrooke, "id", (3,)),
    ],
)  # fmt: skip
def test_errors_of_wide_devices_are_those_of_their_targets(name, backend, gate, qubits):
    from qiskit.transpiler import Target
    from qiskit_aer.noise.device import basic_device_gate_errors

    whole = device(name).target if gate == "rzz" else backend().target
    part = Target(num_qubits=whole.num_qubits, qubit_properties=whole.qubit_properties)
    part.add_instruction(whole.operation_from_name(gate), {qubits: whole[gate][qubits]}, name=gate)
    ((_, _, expected),) = basic_device_gate_errors(target=part)
    assert DeviceNoise(device(name)).error(gate, qubits) == expected


def test_waiting_relaxes_as_in_the_whole_model():
    noise = DeviceNoise(device("manila"))
    qubit = device("manila").target.qubit_properties[2]
    dt = device("manila").dt_seconds
    expected = thermal_relaxation_error(qubit.t1, min(qubit.t2, 2 * qubit.t1), 10_000 * dt)
    assert noise.error("delay:10000", (2,)) == expected
    assert noise.error("delay:0", (2,)) is None


def test_one_channel_is_the_sum_of_the_terms():
    noise = DeviceNoise(device("fez"))
    for name, qubits in (("cz", (10, 11)), ("sx", (10,)), ("reset", (10,))):
        error = noise.error(name, qubits)
        assert np.allclose(channel(error).data, SuperOp(error).data, atol=1e-12)


def test_channels_in_closed_form_are_those_of_the_whole_model(manila):
    """What density matrices and Pauli frames use against what Aer builds."""
    ours = DeviceNoise(device("manila"))
    for name, places in manila._local_quantum_errors.items():
        for qubits, error in places.items():
            whole = channel(error).data
            assert np.allclose(SuperOp(ours._channel(name, qubits)).data, whole, atol=1e-10)
            assert np.allclose(ours.paulis(name, qubits), twirled(error), atol=1e-10)
    assert np.allclose(
        SuperOp(ours._channel("delay:5000", (1,))).data, SuperOp(ours.error("delay:5000", (1,))).data
    )
    assert ours._channel("rz", (0,)) is None
    assert ours.paulis("measure", (0,)) is None
    fez = DeviceNoise(device("fez"))
    for name, qubits in (("cz", (10, 11)), ("cz", (71, 72)), ("rzz", (10, 11)), ("sx", (3,))):
        error = fez.error(name, qubits)
        assert np.allclose(SuperOp(fez._channel(name, qubits)).data, channel(error).data, atol=1e-10)
        assert np.allclose(fez.paulis(name, qubits), twirled(error), atol=1e-10)


def test_only_what_is_used_is_in_a_model_and_it_is_kept():
    noise = DeviceNoise(device("manila"))
    uses = [("sx", (3,)), ("cx", (3, 4)), ("measure", (4,)), ("rz", (3,))]
    model = noise.model(uses, (3, 4), channels=False)
    assert set(model._local_quantum_errors) == {"sx", "cx"}
    assert list(model._local_quantum_errors["cx"]) == [(0, 1)]
    assert list(model._local_readout_errors) == [(1,)]
    assert noise.model(list(reversed(uses)), (3, 4), channels=False) is model


def test_kinds_of_noise_are_told_apart():
    assert kind(depolarizing_error(0.1, 1)) == "pauli"
    assert kind(thermal_relaxation_error(1.0, 0.5, 0.1)) == "clifford"
    assert kind(thermal_relaxation_error(1.0, 1.5, 0.1)) == "kraus"


@pytest.mark.parametrize("serialisable", [False, True])
def test_a_given_model_is_taken_to_the_qubits_of_the_circuit(manila, serialisable):
    model, found = given_model(manila.to_dict(serializable=serialisable), (3, 4))
    assert found == "clifford"
    expected = SuperOp(manila._local_quantum_errors["cx"][3, 4])
    assert np.allclose(SuperOp(model._local_quantum_errors["cx"][0, 1]).data, expected.data)
    assert (0, 4) not in model._local_quantum_errors["cx"]
    assert model._local_readout_errors[0,] == manila._local_readout_errors[3,]


def test_a_default_error_stands_for_all_qubits():
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.1, 1), "x")
    back, found = given_model(model.to_dict(serializable=True), (7,))
    assert found == "pauli"
    assert "x" in back._default_quantum_errors


def given_error(name, **changes):
    """A noise model in which an instruction follows every sx."""
    step = {"name": name, "qubits": [0], **changes}
    error = {"type": "qerror", "operations": ["sx"], "instructions": [[step]], "probabilities": [1.0]}
    return {"errors": [error]}


@pytest.mark.parametrize(
    "wire",
    [
        {}, {"errors": 3}, {"errors": [{}]}, {"errors": [{"type": "other"}]},
        {"errors": [{"type": "qerror", "operations": ["x"], "instructions": [[{"name": "kraus", "qubits": [0],
                     "params": [["a"]]}]], "probabilities": [1.0]}]},
        {"errors": [{"type": "roerror", "probabilities": [[2.0, 0.0], [0.0, 1.0]], "gate_qubits": [[0]]}]},
        given_error("x", qubits=[10**9]),
        given_error("kraus", params=[[[[5, 0], [0, 0]], [[0, 0], [5, 0]]]]),
        given_error("unitary", params=[[[[5, 0], [0, 0]], [[0, 0], [5, 0]]]]),
        {"errors": given_error("x")["errors"] * 2},
    ],
)  # fmt: skip
def test_a_wrong_model_is_refused_by_name(wire):
    with pytest.raises(JobError, match=r"simulator\.noise_model"):
        given_model(wire, (0,))


def test_a_reduced_circuit_has_no_idle_qubits():
    from ketline.qpus.reduce import reduce
    from ketline.qpus.schedule import Durations

    circuit = QuantumCircuit(156, 1)
    circuit.barrier()
    circuit.delay(100, 7)
    circuit.sx(155)
    circuit.delay(100, 155)
    circuit.measure(155, 0)
    fez = device("fez")
    small = reduce(circuit, Durations(fez.target, fez.dt_seconds), noisy=True)
    assert small.qubits == (155,)
    assert set(small.uses) == {("sx", (155,)), ("delay:100", (155,)), ("measure", (155,))}
    assert small.terminal
    assert not small.dynamic
