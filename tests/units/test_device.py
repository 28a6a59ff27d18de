"""A published device is the same in every process."""

import json

import pytest
from qiskit_ibm_runtime.fake_provider import FakeFez, FakeManilaV2

from ketline.qpus.snapshots import ideal, snapshot
from ketline.units.device import Device


@pytest.mark.parametrize(("name", "client"), [("manila", FakeManilaV2), ("fez", FakeFez)])
def test_the_target_has_what_the_clients_own_has(name, client):
    ours, theirs = snapshot(name, f"ket_{name}").target, client().target
    assert ours.num_qubits == theirs.num_qubits
    assert ours.dt == theirs.dt
    for operation in theirs.operation_names:
        if theirs[operation] is None or None in theirs[operation]:
            continue
        for qubits, entry in theirs[operation].items():
            if entry is not None:
                assert ours[operation][qubits].error == entry.error
                assert ours[operation][qubits].duration == entry.duration


def test_faulty_qubits_and_gates_are_not_in_the_target():
    device = snapshot("manila", "ket_manila")
    properties = device.properties
    properties["qubits"][4].append(
        {"date": "2026-01-01T00:00:00Z", "name": "operational", "unit": "", "value": 0}
    )
    for gate in properties["gates"]:
        if gate["gate"] == "cx" and gate["qubits"] == [0, 1]:
            gate["parameters"].append(
                {"date": "2026-01-01T00:00:00Z", "name": "operational", "unit": "", "value": 0}
            )
    target = device.target
    assert (4,) not in target["sx"]
    assert (3, 4) not in target["cx"]
    assert (0, 1) not in target["cx"]
    assert (1, 0) in target["cx"]


def test_a_device_survives_its_file(tmp_path):
    device = snapshot("manila", "ket_manila")
    device.write(tmp_path / "device.json")
    assert Device.read(tmp_path / "device.json") == device
    assert [path.name for path in tmp_path.iterdir()] == ["device.json"]


def test_the_target_leaves_the_wire_form_alone():
    device = snapshot("fez", "ket_fez")
    before = json.dumps([device.configuration, device.properties])
    assert device.target.num_qubits == 156
    assert json.dumps([device.configuration, device.properties]) == before


def test_times_are_in_seconds():
    device = snapshot("fez", "ket_fez")
    assert device.dt_seconds == pytest.approx(4e-9)
    assert device.default_rep_delay_seconds == pytest.approx(250e-6)
    assert device.rep_delay_range_seconds == (0.0, pytest.approx(500e-6))
    assert not device.simulator
    assert ideal("fez", "ket_simulator").simulator
