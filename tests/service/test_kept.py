"""What is carried over of a predecessor's scratch, and what isn't."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit

from ketline.qpus.resuming import NOTE, digest
from ketline.service import tasks
from ketline.service.kept import carried_over
from ketline.units.serial import write_unit
from ketline.units.work import WorkItem, WorkUnit


def left(scratch: Path, name: str) -> Path:
    """A folder of a job that a machine has."""
    folder = scratch / "predecessor" / name
    folder.mkdir(parents=True)
    write_unit(folder / tasks.UNIT, WorkUnit([WorkItem(QuantumCircuit(1, 1), np.zeros((1, 0)), 10)]))
    (folder / tasks.STATE).write_bytes(b"state")
    told = {"unit": digest(folder / tasks.UNIT), "note": {"jobs": []}, "estimate_seconds": 1.5}
    (folder / NOTE).write_text(json.dumps(told))
    return folder


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    made = tmp_path / "mine"
    made.mkdir()
    return made


@pytest.mark.parametrize("name", ["job1.2", "kept.job1"])
def test_a_unit_with_its_note_is_carried_over(tmp_path: Path, fresh: Path, name: str) -> None:
    left(tmp_path, name)
    kept = carried_over(tmp_path, fresh)
    assert kept.keys() == {"job1"}
    assert kept["job1"].estimate_seconds == 1.5
    assert {path.name for path in kept["job1"].folder.iterdir()} == {tasks.UNIT, tasks.STATE, NOTE}


def test_what_was_given_up_is_not(tmp_path: Path, fresh: Path) -> None:
    for name in ("job1.2.given-up", "kept.job1.given-up", "look.abc"):
        left(tmp_path, name)
    assert carried_over(tmp_path, fresh) == {}


def test_half_a_job_and_another_round_are_not(tmp_path: Path, fresh: Path) -> None:
    (left(tmp_path, "job1.1") / tasks.STATE).unlink()
    (left(tmp_path, "job2.1") / NOTE).unlink()
    another = left(tmp_path, "job3.1")
    write_unit(another / tasks.UNIT, WorkUnit([WorkItem(QuantumCircuit(2, 1), np.zeros((1, 0)), 10)]))
    assert carried_over(tmp_path, fresh) == {}


def test_a_unit_of_another_release_is_not(tmp_path: Path, fresh: Path) -> None:
    folder = left(tmp_path, "job1.1")
    (folder / tasks.UNIT).write_bytes(b"KTL0" + bytes(20))
    told = json.loads((folder / NOTE).read_text())
    (folder / NOTE).write_text(json.dumps(told | {"unit": digest(folder / tasks.UNIT)}))
    assert carried_over(tmp_path, fresh) == {}
