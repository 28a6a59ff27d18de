"""Notes of what a machine has: when they are believed, and that they never stand in a job's way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from own_backends import Job, Lab
from qiskit import QuantumCircuit
from qpu_lab import item

from ketline.config import QpuSettings
from ketline.qpus import backend
from ketline.qpus.backend import BackendDriver
from ketline.qpus.driver import Resumable
from ketline.qpus.emulator import Emulator
from ketline.qpus.resuming import NOTE, Trail
from ketline.units.serial import write_unit
from ketline.units.work import WorkUnit


class Keeping(Lab):
    """A backend that finds its jobs again, and takes one circuit a job."""

    def made(self, circuits: Any, **options: Any) -> Job:
        job = super().made(circuits, **options)
        name = f"job{len(self.jobs)}"
        job.job_id = lambda: name  # type: ignore[method-assign]
        return job

    def retrieve_job(self, job_id: str) -> Job:
        found: Job = next(job for job in self.jobs if job.job_id() == job_id)
        return found


def flips(*qubits: int) -> WorkUnit:
    items = []
    for qubit in qubits:
        circuit = QuantumCircuit(3, 1)
        circuit.sx(qubit)
        circuit.sx(qubit)
        circuit.measure(qubit, 0)
        items.append(item(circuit, 20))
    return WorkUnit(items)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Keeping:
    made = Keeping()
    monkeypatch.setattr(backend, "make", lambda _: made)
    return made


def driver() -> BackendDriver:
    settings = QpuSettings(name="ket_own", driver="backend", device="own:Machine")
    return BackendDriver(BackendDriver.device(settings), settings)


def finished(qpu: BackendDriver, handle: str) -> list[int]:
    while qpu.poll(handle).state != "done":
        pass
    return [int(one.bits["c"].sum()) for one in qpu.outcome(handle).items]


def test_jobs_of_before_are_taken_up_and_the_rest_is_handed_in(machine: Keeping, tmp_path: Path) -> None:
    write_unit(tmp_path / "unit", flips(0, 1, 2))
    qpu = driver()
    trail = Trail(qpu, tmp_path / "unit", 2.5)
    handle = trail.begin()
    assert len(machine.jobs) == 1
    qpu._take(qpu._units[handle])  # the first is over, the second handed in
    trail.keep(handle)
    told = json.loads((tmp_path / NOTE).read_text())
    assert [job[0] for job in told["note"]["jobs"]] == ["job0", "job1"]
    assert told["estimate_seconds"] == 2.5
    # A successor that dies as soon as it has taken up the first leaves the note as it was.
    Trail(driver(), tmp_path / "unit", 2.5).begin()
    assert json.loads((tmp_path / NOTE).read_text()) == told
    successor = driver()
    again = Trail(successor, tmp_path / "unit").begin()
    assert finished(successor, again) == [20, 20, 20]
    assert len(machine.jobs) == 3


def test_a_note_of_another_unit_is_not_believed(machine: Keeping, tmp_path: Path) -> None:
    write_unit(tmp_path / "unit", flips(0))
    Trail(driver(), tmp_path / "unit").begin()
    write_unit(tmp_path / "unit", flips(1))
    successor = driver()
    handle = Trail(successor, tmp_path / "unit").begin()
    assert finished(successor, handle) == [20]
    assert len(machine.jobs) == 2


def test_jobs_that_are_gone_are_handed_in_again(machine: Keeping, tmp_path: Path) -> None:
    write_unit(tmp_path / "unit", flips(0, 1))
    qpu = driver()
    trail = Trail(qpu, tmp_path / "unit")
    handle = trail.begin()
    qpu._take(qpu._units[handle])
    trail.keep(handle)
    for lost in (1, 0):
        machine.jobs[lost].job_id = lambda: "another"  # type: ignore[method-assign]
        successor = driver()
        assert finished(successor, Trail(successor, tmp_path / "unit").begin()) == [20, 20]
    assert len(machine.jobs) == 2 + 1 + 2


@pytest.mark.parametrize("text", ["", "[]", '{"unit": 1}', '{"unit": "x", "note": {}}', "\x00"])
def test_a_note_that_cannot_be_read_is_none(machine: Keeping, tmp_path: Path, text: str) -> None:
    write_unit(tmp_path / "unit", flips(0))
    (tmp_path / NOTE).write_text(text)
    qpu = driver()
    assert finished(qpu, Trail(qpu, tmp_path / "unit").begin()) == [20]


def test_a_note_that_cannot_be_written_harms_nobody(machine: Keeping, tmp_path: Path) -> None:
    write_unit(tmp_path / "unit", flips(0))
    (tmp_path / f"{NOTE}.part").mkdir()
    qpu = driver()
    trail = Trail(qpu, tmp_path / "unit")
    assert finished(qpu, trail.begin()) == [20]
    assert not trail.lasts


def test_only_what_can_be_found_again_is_noted(machine: Keeping, tmp_path: Path) -> None:
    write_unit(tmp_path / "unit", flips(0))
    machine.retrieve_job = None  # type: ignore[assignment, method-assign]
    qpu = driver()
    trail = Trail(qpu, tmp_path / "unit")
    trail.begin()
    assert not trail.lasts
    assert not (tmp_path / NOTE).exists()
    assert not issubclass(Emulator, Resumable)
