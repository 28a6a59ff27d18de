"""Any BackendV2 serves as a QPU."""

import json
from multiprocessing import Pipe
from threading import Thread

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, transpile
from qiskit.circuit import Parameter
from qiskit_ibm_runtime.utils.backend_decoder import (
    configuration_from_server_data,
    properties_from_server_data,
)
from qpu_lab import fits, histogram, item, numbers, run

from ketline.config import QpuSettings
from ketline.qpus import backend_job
from ketline.qpus.backend import BackendDriver
from ketline.qpus.driver import DriverError, Fault, driver_type
from ketline.qpus.host import Host
from ketline.units.device import Device
from ketline.units.errors import JobError
from ketline.units.serial import write_unit
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
     ("fez", "module:attribute"), ("own_backends:Endless", "how many qubits")],
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


def bell(qpu: BackendDriver) -> QuantumCircuit:
    """Two registers, read backwards."""
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.x(0)
    circuit.add_register(ClassicalRegister(1, "one"), ClassicalRegister(2, "two"))
    circuit.measure([0, 1], [0, 2])
    return transpile(circuit, target=qpu._device.target, optimization_level=1)


@pytest.mark.parametrize("kind", ["Lab", "Spelled"])
def test_counts_alone_are_enough(kind):
    """Without memory, errors and durations, in hexadecimal or spelled out; one circuit a job."""
    qpu, settings = made(f"own_backends:{kind}")
    assert properties_from_server_data(dict(qpu._device.properties)).is_qubit_operational(2)
    unit = WorkUnit([item(bell(qpu), 300, np.zeros((2, 0)))])
    assert BackendDriver.admit(unit, qpu._device, settings).qpu_seconds > 0
    (outcome,) = run(unit, qpu).items
    one, two = numbers(outcome, "one", 1), numbers(outcome, "two", 2)
    assert one.shape == (2, 300)
    assert (two == 2 * (1 - one)).all()
    assert 200 < one.sum() < 400
    assert abs(one[0, :150].sum() - one[0, 150:].sum()) < 60
    assert len(qpu._backend.jobs) == 2


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("Raising", r"run\(\) of the backend raised RuntimeError: the fridge is warm"),
        ("Nothing", r"the backend's job is a str, which has no status\(\)"),
        ("Lost", r"result\(\) of the backend's job raised ConnectionError: gone"),
        ("Failing", "the backend's job failed"),
        ("Unsuccessful", "the backend's job failed"),
        ("Cancelling", "was cancelled there"),
        ("Short", "the backend gave 50 shots of 100"),
        ("Garbled", "counts that can't be read"),
    ],
)
def test_what_goes_wrong_in_a_backend_is_told(kind, says):
    qpu, _ = made(f"own_backends:{kind}")
    with pytest.raises(Fault, match=says):
        run(WorkUnit([item(bell(qpu), 100)]), qpu)


def test_a_cancel_reaches_the_backends_job():
    qpu, _ = made("own_backends:Hung")
    handle = qpu.start(WorkUnit([item(bell(qpu), 100)]))
    assert qpu.poll(handle).state == "running"
    qpu.stop(handle)
    assert [job.cancelled for job in qpu._backend.jobs] == [1]


def test_a_backend_may_be_out_of_reach_for_a_moment(monkeypatch):
    qpu, _ = made("own_backends:Silent")
    handle = qpu.start(WorkUnit([item(bell(qpu), 100)]))
    assert qpu.poll(handle).state == "running"
    (job,) = qpu._backend.jobs
    state, job.state = job.state, "RUNNING"
    assert qpu.poll(handle).state == "running"
    job.state = state
    monkeypatch.setattr(backend_job, "SILENT_SECONDS", 0.1)
    with pytest.raises(Fault, match="has raised ConnectionError: no route"):
        qpu.poll(handle)


class Sullen(BackendDriver):
    """A driver that raises wherever it can."""

    def stop(self, handle: str) -> None:
        super().stop(handle)
        raise RuntimeError("no")

    def calibrate(self, at: float) -> Device:
        raise KeyError("chart")


def test_a_machine_that_only_raises_leaves_its_process_alive(tmp_path, caplog):
    """Health, calibrating, cancelling and stopping fail one after the other; the QPU answers all the same."""
    settings = QpuSettings(
        name="ket_own", driver="backend", device="own_backends:Stubborn", calibration_seconds=0
    )
    driver = Sullen(BackendDriver.device(settings), settings)
    ours, theirs = Pipe()
    host = Thread(target=Host(theirs, driver, settings).serve, daemon=True)
    host.start()

    def answer(**message: object) -> dict[str, object]:
        if message:
            ours.send_bytes(json.dumps(message).encode())
        assert ours.poll(20), "no answer"
        found = json.loads(ours.recv_bytes())
        return answer() if found["is"] == "progress" else found

    assert answer()["is"] == "ready"
    health = answer(do="health", key="1")
    assert (health["ok"], health["message"]) == (False, "its health can't be told: no answer")
    calibrated = answer(do="calibrate", key="2", device=str(tmp_path / "device"))
    assert (calibrated["ok"], calibrated["message"]) == (False, "KeyError: 'chart'")
    write_unit(tmp_path / "unit", WorkUnit([item(bell(driver), 10)]))
    outcome = str(tmp_path / "outcome")
    assert answer(do="run", job="j", unit=str(tmp_path / "unit"), outcome=outcome)["is"] == "locked"
    assert answer(do="stop", job="j")["is"] == "stopped"
    assert "can't be cancelled" in caplog.text
    assert "failed to stop a unit" in caplog.text
    assert answer(do="health", key="3")["job"] is None
    ours.send_bytes(b'{"do": "exit"}')
    host.join(20)
    assert not host.is_alive()
