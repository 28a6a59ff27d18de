"""The QPU's process, spoken to as the service does."""

import json
import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qpu_lab import item, settings

from ketline.errors import CANNOT_SIMULATE, QPU_FAULT, QPU_OUT_OF_MEMORY
from ketline.qpus.host import UNFIT_STATUS, main
from ketline.units.device import Device
from ketline.units.serial import read_outcome, write_unit
from ketline.units.work import WorkUnit


class Qpu:
    """The parent's side of a QPU's process."""

    def __init__(self, **more: object) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        wanted = {**settings("manila").model_dump(), **more}
        spec = json.dumps({"settings": wanted, "device": None})
        self.process = context.Process(target=main, args=(theirs, spec), daemon=True)
        self.process.start()
        theirs.close()

    def send(self, **message: object) -> None:
        self.connection.send_bytes(json.dumps(message).encode())

    def read(self, seconds: float = 60.0) -> dict[str, object]:
        assert self.connection.poll(seconds), "no message came"
        return json.loads(self.connection.recv_bytes())

    def wait(self, *kinds: str) -> dict[str, object]:
        while (message := self.read())["is"] not in kinds:
            assert message["is"] == "progress"
        return message

    def close(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


@pytest.fixture(scope="module")
def qpu():
    made = Qpu(calibration_seconds=0.2)
    assert made.wait("ready")["qpu"] == "ket_manila"
    yield made
    made.close()


def flip(shots: int) -> WorkUnit:
    circuit = QuantumCircuit(5, 1)
    circuit.x(3)
    circuit.measure(3, 0)
    return WorkUnit([item(circuit, shots)], noise=False)


def endless() -> WorkUnit:
    """Many seconds of trajectories."""
    circuit = QuantumCircuit(5, 5)
    for _ in range(60):
        circuit.sx(range(5))
        circuit.cx(0, 1)
        circuit.measure(0, 0)
        with circuit.if_test((circuit.clbits[0], 1)):
            circuit.x(1)
    circuit.measure(range(5), range(5))
    return WorkUnit([item(circuit, 500_000)])


def test_a_job_is_run_and_its_outcome_written(qpu, tmp_path):
    write_unit(tmp_path / "unit", flip(100))
    qpu.send(do="run", job="j1", unit=str(tmp_path / "unit"), outcome=str(tmp_path / "outcome"))
    locked = qpu.wait("locked")
    released = qpu.wait("released")
    assert locked["job"] == released["job"] == "j1"
    assert 0 < released["qpu_seconds"] <= released["at"] - locked["at"] + 0.1
    outcome = read_outcome(tmp_path / "outcome")
    assert set(outcome.items[0].bits["c"].ravel()) == {1}
    assert locked["at"] <= outcome.spans[0].start.timestamp() <= outcome.spans[0].stop.timestamp()
    assert outcome.spans[0].stop.timestamp() <= released["at"]


def test_a_running_job_is_stopped_and_messages_are_answered_meanwhile(qpu, tmp_path):
    write_unit(tmp_path / "unit", endless())
    qpu.send(do="run", job="j2", unit=str(tmp_path / "unit"), outcome=str(tmp_path / "outcome"))
    qpu.wait("locked")
    progress = qpu.read()
    assert progress["is"] == "progress"
    assert 0 < progress["done"] < progress["total"] == 500_000
    qpu.send(do="health", key="h")
    health = qpu.wait("health")
    assert health["ok"]
    assert health["job"] == "j2"
    assert health["rss_bytes"] > 10_000_000
    qpu.send(do="run", job="j3", unit="nowhere", outcome="nowhere")
    refused = qpu.wait("failed")
    assert (refused["job"], refused["kind"], refused["qpu_seconds"]) == ("j3", "system", 0.0)
    qpu.send(do="calibrate", key="c", device=str(tmp_path / "device"))
    assert qpu.wait("calibrated")["ok"] is False
    qpu.send(do="stop", job="another")
    began = time.monotonic()
    qpu.send(do="stop", job="j2")
    stopped = qpu.wait("stopped")
    assert stopped["job"] == "j2"
    assert stopped["qpu_seconds"] > 0
    assert time.monotonic() - began < 5
    assert not (tmp_path / "outcome").exists()


def test_a_job_that_cant_be_run_fails_and_the_qpu_goes_on(qpu, tmp_path):
    wide = QuantumCircuit(9, 1)
    write_unit(tmp_path / "unit", WorkUnit([item(wide)]))
    qpu.send(do="run", job="j4", unit=str(tmp_path / "unit"), outcome=str(tmp_path / "outcome"))
    qpu.wait("locked")
    failed = qpu.wait("failed")
    assert failed["kind"] == "user"
    assert "9 qubits" in failed["message"]
    assert failed["solution"]
    (tmp_path / "unit").write_bytes(b"nonsense")
    qpu.send(do="run", job="j5", unit=str(tmp_path / "unit"), outcome=str(tmp_path / "outcome"))
    qpu.wait("locked")
    failed = qpu.wait("failed")
    assert (failed["job"], failed["kind"], failed["code"]) == ("j5", "system", QPU_FAULT.code)
    write_unit(tmp_path / "unit", flip(3))
    qpu.send(do="run", job="j6", unit=str(tmp_path / "unit"), outcome=str(tmp_path / "outcome"))
    qpu.wait("locked")
    assert qpu.wait("released")["job"] == "j6"


def test_a_calibration_publishes_a_device(qpu, tmp_path):
    path = tmp_path / "device.json"
    qpu.send(do="calibrate", key="c1", device=str(path))
    qpu.send(do="describe", key="d")
    assert qpu.wait("description")["description"]["num_qubits"] == 5
    done = qpu.wait("calibrated")
    assert done["ok"]
    assert done["seconds"] >= 0.2
    assert Device.read(path).configuration["backend_name"] == "ket_manila"


def test_too_much_memory_fails_the_job_and_not_the_qpu(tmp_path):
    qpu = Qpu(memory_bytes=200_000_000)
    try:
        qpu.wait("ready")
        circuit = QuantumCircuit(5, 5)
        circuit.measure(range(5), range(5))
        write_unit(tmp_path / "unit", WorkUnit([item(circuit, 300_000_000)], mock=True))
        qpu.send(do="run", job="big", unit=str(tmp_path / "unit"), outcome=str(tmp_path / "outcome"))
        qpu.wait("locked")
        failed = qpu.wait("failed")
        assert (failed["kind"], failed["code"]) == ("user", QPU_OUT_OF_MEMORY.code)
        write_unit(tmp_path / "unit", flip(3))
        qpu.send(do="run", job="small", unit=str(tmp_path / "unit"), outcome=str(tmp_path / "outcome"))
        qpu.wait("locked")
        assert qpu.wait("released")["job"] == "small"
        qpu.send(do="exit")
        qpu.process.join(20)
        assert qpu.process.exitcode == 0
    finally:
        qpu.close()


def test_a_device_that_isnt_there_is_unfit():
    qpu = Qpu(device="nowhere")
    try:
        assert "nowhere" in str(qpu.wait("unfit")["message"])
        qpu.process.join(20)
        assert qpu.process.exitcode == UNFIT_STATUS
    finally:
        qpu.close()


def test_a_closed_connection_ends_the_process():
    qpu = Qpu()
    qpu.wait("ready")
    qpu.connection.close()
    qpu.process.join(20)
    assert qpu.process.exitcode == 0


def test_the_codes_are_those_of_the_registry():
    assert (CANNOT_SIMULATE.code, QPU_OUT_OF_MEMORY.code) == (9301, 9303)
    assert "9303" in Path(main.__code__.co_filename).read_text(encoding="utf-8")
    assert np.isfinite(QPU_FAULT.code)
