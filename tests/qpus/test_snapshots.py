"""Recorded devices as they go over the wire, read by the client's own code."""

import subprocess
import sys
from copy import deepcopy

import pytest
from qiskit import QuantumCircuit, transpile
from qiskit_ibm_runtime.utils.backend_decoder import (
    configuration_from_server_data,
    properties_from_server_data,
)

from ketline.qpus.driver import DriverError
from ketline.qpus.snapshots import devices, ideal, mock_name, snapshot


@pytest.mark.parametrize("name", devices())
def test_every_device_is_understood_by_the_client(name):
    device = snapshot(name, f"ket_{name}")
    assert device.configuration["backend_name"] == device.properties["backend_name"] == f"ket_{name}"
    assert device.configuration["simulator"] is False
    assert "dynamic_circuits" in device.configuration["supported_features"]
    assert {"if_else", "for_loop", "switch_case", "measure", "delay"} <= set(
        device.configuration["supported_instructions"]
    )
    for gate in device.configuration["gates"]:
        assert set(gate) <= {
            "name", "parameters", "qasm_def", "coupling_map", "latency_map", "conditional", "description",
        }  # fmt: skip
    configuration = configuration_from_server_data(deepcopy(device.configuration), use_fractional_gates=None)
    assert configuration is not None
    assert configuration.n_qubits == device.num_qubits
    assert properties_from_server_data(device.properties, use_fractional_gates=None) is not None


@pytest.mark.parametrize("name", ["fez", "torino", "boston", "fractional"])
def test_fractional_gates_are_offered_where_the_device_has_them(name):
    device = snapshot(name, f"ket_{name}")
    for gate in ("rx", "rzz"):
        assert gate in device.configuration["basis_gates"]
        assert gate in device.configuration["supported_instructions"]
        assert gate in [entry["name"] for entry in device.configuration["gates"]]
        assert gate in device.target.operation_names
    plain = configuration_from_server_data(deepcopy(device.configuration), use_fractional_gates=False)
    assert "rzz" not in plain.basis_gates


def test_a_device_without_fractional_gates_offers_none():
    assert not {"rx", "rzz"} & set(snapshot("sherbrooke", "ket_s").configuration["basis_gates"])


def test_an_ideal_simulator_takes_any_pair_of_qubits():
    device = ideal("fez", "ket_simulator")
    assert configuration_from_server_data(deepcopy(device.configuration)) is not None
    circuit = QuantumCircuit(20)
    circuit.ccx(0, 9, 19)
    assert transpile(circuit, target=device.target).count_ops() == {"ccx": 1}


def test_the_mock_twin_has_a_name_of_its_own():
    assert mock_name("ket_fez") == "mock_fez"
    assert mock_name("ket_fez_two") == "mock_fez_two"


def test_an_unknown_device_is_refused_by_name():
    with pytest.raises(DriverError, match=r"'nowhere'.*manila"):
        snapshot("nowhere", "ket_nowhere")


def test_copies_are_the_callers_own():
    snapshot("manila", "ket_manila").properties["qubits"].clear()
    assert len(snapshot("manila", "ket_manila").properties["qubits"]) == 5


def test_snapshots_are_served_without_qiskit():
    code = (
        "import sys; from ketline.qpus.snapshots import snapshot; snapshot('manila', 'ket_manila');"
        "sys.exit('qiskit' in sys.modules or 'qiskit_ibm_runtime' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_the_driver_publishes_its_device_without_qiskit():
    code = (
        "import sys; from ketline.config import QpuSettings; from ketline.qpus.driver import driver_type;"
        "driver_type('emulator').device(QpuSettings(name='ket_fez')); sys.exit('qiskit' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
