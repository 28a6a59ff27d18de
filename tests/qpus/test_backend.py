"""Any BackendV2 serves as a QPU."""

import numpy as np
import pytest
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Parameter
from qiskit_ibm_runtime.utils.backend_decoder import (
    configuration_from_server_data,
    properties_from_server_data,
)
from qpu_lab import fits, histogram, item, numbers, run

from ketline.config import QpuSettings
from ketline.qpus.backend import BackendDriver
from ketline.qpus.driver import DriverError, driver_type
from ketline.units.errors import JobError
from ketline.units.work import WorkUnit

FAKE = "qiskit_ibm_runtime.fake_provider:FakeManilaV2"
SIMULATOR = "qiskit_aer:AerSimulator"


def made(device: str, **more: bool) -> tuple[BackendDriver, QpuSettings]:
    settings = QpuSettings(name="ket_own", driver="backend", device=device, **more)
    kind = driver_type("backend")
    return kind(kind.device(settings), settings), settings


def test_its_target_is_published_for_the_client():
    device = BackendDriver.device(QpuSettings(name="ket_own", driver="backend", device=FAKE))
    from qiskit_ibm_runtime.fake_provider import FakeManilaV2

    theirs = FakeManilaV2().target
    for name in ("cx", "sx", "x", "id", "measure"):
        for place, entry in theirs[name].items():
            assert device.target[name][place].error == pytest.approx(entry.error)
            assert device.target[name][place].duration == pytest.approx(entry.duration)
    assert device.target.qubit_properties[2].t1 == pytest.approx(theirs.qubit_properties[2].t1)
    assert {"if_else", "measure", "delay"} <= set(device.target.operation_names)
    assert device.target.dt == pytest.approx(theirs.dt)
    assert configuration_from_server_data(dict(device.configuration)) is not None
    assert properties_from_server_data(dict(device.properties)).t1(2) > 0


def test_circuits_run_on_it():
    qpu, settings = made(FAKE)
    angle = Parameter("angle")
    circuit = QuantumCircuit(2, 2)
    circuit.rx(angle, 0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    circuit = transpile(circuit, target=qpu._device.target, initial_layout=[1, 2])
    unit = WorkUnit(
        [item(circuit, 500, [[0.0], [np.pi], [0.0]], chunk_sets=2), item(QuantumCircuit(5, 1), 10)]
    )
    admission = BackendDriver.admit(unit, qpu._device, settings)
    assert admission.qpu_seconds > 2
    outcome = run(unit, qpu)
    means = [(row == 3).mean() for row in numbers(outcome.items[0], "c", 2)]
    assert means[0] < 0.1
    assert means[1] > 0.8
    assert means[2] < 0.1
    assert [(span.item, span.first_set, span.last_set) for span in outcome.spans] == [
        (0, 0, 2),
        (0, 2, 3),
        (1, 0, 1),
    ]
    assert qpu.health().ok
    assert qpu.describe()["num_qubits"] == 5


def test_a_simulator_serves_as_one():
    qpu, _ = made(SIMULATOR, simulator=True)
    circuit = QuantumCircuit(3, 3)
    circuit.h(0)
    circuit.ccx(0, 1, 2)
    circuit.cx(0, 2)
    circuit.measure(range(3), range(3))
    found = histogram(numbers(run(WorkUnit([item(circuit, 4000)]), qpu).items[0], "c", 3), 3)
    assert fits(found, np.asarray([0.5, 0, 0, 0, 0, 0.5, 0, 0]))
    assert qpu._device.simulator
    assert qpu._device.properties is None


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"noise": False}, "noise"), ({"mock": True}, "mock"), ({"seed": 3}, "seed"),
        ({"init_qubits": False}, "init_qubits"), ({"rep_delay_seconds": 1e-4}, "rep_delay"),
        ({"meas_level": "kerneled"}, "meas_level"), ({"simulator": {"seed_simulator": 1}}, "simulator"),
        ({"scheduler_timing": True}, "scheduler_timing"), ({"stretch_values": True}, "stretch_values"),
    ],
)  # fmt: skip
def test_what_it_cant_do_is_refused_by_name(options, name):
    qpu, _ = made(FAKE)
    with pytest.raises(JobError, match=f"^{name}: the QPU ket_own"):
        qpu.start(WorkUnit([item(QuantumCircuit(2, 1))], **options))


@pytest.mark.parametrize(
    ("device", "says"),
    [("nowhere:Backend", "No module"), ("qiskit:QuantumCircuit", "QuantumCircuit, not a Qiskit BackendV2"),
     ("fez", "module:attribute")],
)  # fmt: skip
def test_what_is_no_backend_is_refused(device, says):
    with pytest.raises(DriverError, match=says):
        made(device)


def test_a_unit_is_given_up_and_forgotten():
    qpu, _ = made(FAKE)
    handle = qpu.start(WorkUnit([item(QuantumCircuit(5, 1), 10)]))
    qpu.stop(handle)
    with pytest.raises(KeyError):
        qpu.poll(handle)
