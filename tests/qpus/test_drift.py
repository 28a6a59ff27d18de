"""Figures drift after a calibration, circuits feel it, and a calibration undoes it."""

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qpu_lab import device, item, numbers, run

from ketline.config import QpuSettings
from ketline.qpus.drift import calibrated, calibration_time, drifted, steps
from ketline.qpus.emulator import Emulator
from ketline.units.work import WorkUnit

DAY = 86_400.0
NOON = 1_770_000_000.0


def wandering(drift: float = 1.0, **more: object) -> QpuSettings:
    return QpuSettings(name="ket_manila", device="manila", seed=4, drift=drift, **more)


def figures(of, name: str) -> np.ndarray:
    gates = [value for gate in of.properties["gates"] for value in gate["parameters"]]
    values = [value for qubit in of.properties["qubits"] for value in qubit] + gates
    return np.asarray([value["value"] for value in values if value["name"] == name])


def test_without_drift_nothing_changes():
    assert steps(wandering(0.0), NOON, NOON + 100 * DAY) == 0
    done = calibrated(device("manila"), wandering(0.0), NOON)
    for name in ("gate_error", "readout_error", "T1"):
        assert np.array_equal(figures(done, name), figures(device("manila"), name))


def test_errors_grow_and_times_wander_with_the_days():
    settings = wandering()
    base = device("manila")
    day, week = (drifted(base, settings, NOON, steps(settings, NOON, NOON + days * DAY)) for days in (1, 2))
    recorded = figures(base, "gate_error")
    wrong = (recorded > 0) & (recorded < 1)
    assert (figures(day, "gate_error")[wrong] > recorded[wrong]).all()
    assert (figures(week, "gate_error")[wrong] > figures(day, "gate_error")[wrong]).all()
    change = np.log(figures(day, "T1") / figures(base, "T1"))
    assert change.min() < 0 < change.max()
    assert np.array_equal(figures(day, "gate_length"), figures(base, "gate_length"))
    again = drifted(base, settings, NOON, steps(settings, NOON, NOON + DAY))
    assert again.properties == day.properties
    other = drifted(base, settings, NOON + 60, steps(settings, NOON, NOON + DAY))
    assert other.properties != day.properties


def test_clocks_that_jump_back_dont_hurt():
    assert steps(wandering(), NOON, NOON - DAY) == 0


def test_a_calibration_restores_and_is_published():
    done = calibrated(device("manila"), wandering(), NOON)
    assert calibration_time(done, 0.0) == NOON
    assert calibration_time(device("manila"), 5.0) == 5.0
    assert done.calibration_id.startswith("ket_manila-2026")
    ratio = figures(done, "T1") / figures(device("manila"), "T1")
    assert 0 < np.abs(np.log(ratio)).max() < 0.5
    assert {value["date"] for qubit in done.properties["qubits"] for value in qubit} == {
        done.properties["last_update_date"]
    }
    assert done.target.num_qubits == 5
    assert calibrated(device("manila"), wandering(), NOON).properties == done.properties


def test_circuits_feel_the_drift_until_the_next_calibration(monkeypatch):
    """Reading a qubit in its ground state: only the readout error shows."""
    settings = wandering()
    clock = [NOON]
    monkeypatch.setattr("ketline.qpus.engine.time.time", lambda: clock[0])
    qpu = Emulator(device("manila"), settings)
    published = qpu.calibrate(NOON)
    circuit = QuantumCircuit(5, 1)
    circuit.measure(0, 0)

    def misread() -> float:
        return float(numbers(run(WorkUnit([item(circuit, 40_000)]), qpu).items[0], "c", 1).mean())

    def expected(of) -> float:
        return of.target["measure"][0,].error

    fresh = misread()
    clock[0] = NOON + 1.5 * DAY
    worn = misread()
    later = drifted(published, settings, NOON, steps(settings, NOON, clock[0]))
    assert fresh == pytest.approx(expected(published), abs=5 * np.sqrt(expected(published) / 40_000))
    assert worn == pytest.approx(expected(later), abs=5 * np.sqrt(expected(later) / 40_000))
    assert worn > fresh
    again = qpu.calibrate(clock[0])
    assert misread() == pytest.approx(expected(again), abs=5 * np.sqrt(expected(again) / 40_000))
    assert qpu.describe()["calibration_id"] == again.calibration_id


def test_a_new_process_goes_on_where_the_last_one_was(monkeypatch):
    clock = [NOON]
    monkeypatch.setattr("ketline.qpus.engine.time.time", lambda: clock[0])
    first = Emulator(device("manila"), wandering())
    published = first.calibrate(NOON)
    clock[0] = NOON + 2 * DAY
    second = Emulator(published, wandering())
    ours, theirs = (qpu._engine.drift(clock[0]).properties for qpu in (first, second))
    assert ours == theirs
    assert ours != published.properties
