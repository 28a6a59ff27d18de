"""The executor: all versions and kinds of items, seen through the client's own encoders and decoders."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from lab import backend, context, device_noise, posted, work
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, qasm3
from qiskit.circuit import Parameter
from qiskit_ibm_runtime import Executor
from qiskit_ibm_runtime.decoders.executor.decoder import ExecutorResultDecoder
from qiskit_ibm_runtime.executor_sampler import Sampler as ExecutorSampler
from qiskit_ibm_runtime.options_models import ExecutorOptions
from qiskit_ibm_runtime.quantum_program import QuantumProgram
from qiskit_ibm_runtime.quantum_program.params_converters import QUANTUM_PROGRAM_PARAMS_CONVERTERS
from samplomatic import Twirl, build

from ketline.programs.base import open_params, program
from ketline.units.errors import JobError

VERSIONS = ("v0.1", "v0.2", "v1.0", "v1.1", "v2.0")


def rotation() -> QuantumCircuit:
    """An rx by an angle on qubit 1, in manila's instruction set, with two registers."""
    a = Parameter("a")
    circuit = QuantumCircuit(QuantumRegister(5), ClassicalRegister(2, "c"), ClassicalRegister(1, "flag"))
    circuit.rz(np.pi / 2, 1)
    circuit.sx(1)
    circuit.rz(a + np.pi, 1)
    circuit.sx(1)
    circuit.rz(5 * np.pi / 2, 1)
    circuit.x(0)
    circuit.measure([1, 0], [0, 1])
    circuit.measure(3, 2)
    return circuit


def twirled_bell() -> tuple[QuantumCircuit, Any]:
    circuit = QuantumCircuit(2, 2)
    with circuit.box([Twirl()]):
        circuit.sx(0)
        circuit.rz(np.pi / 2, 0)
        circuit.cx(0, 1)
    with circuit.box([Twirl()]):
        circuit.measure([0, 1], [0, 1])
    return build(circuit)


def run(
    quantum_program: QuantumProgram, version: str = "v2.0", *, in_session: bool = False, **options: Any
) -> tuple[Any, dict[str, Any]]:
    converter = QUANTUM_PROGRAM_PARAMS_CONVERTERS[version]
    chosen = ExecutorOptions()
    for name, value in options.items():
        setattr(chosen.execution, name, value)
    params = json.dumps(converter.encoder(quantum_program, chosen).model_dump(mode="json")).encode()
    body = work("executor", params, context(in_session=in_session))
    return ExecutorResultDecoder.decode(body.decode()), json.loads(body)


@pytest.mark.parametrize("version", VERSIONS)
def test_answers_in_the_version_that_was_posted(version: str) -> None:
    quantum_program = QuantumProgram(shots=2000)
    angles = np.array([[0.0, 0.7, np.pi], [1.0, 2.0, 3.0]])[..., None]
    quantum_program.append_circuit_item(rotation(), circuit_arguments=angles)
    result, body = run(quantum_program, version)
    assert body["schema_version"] == version
    bits = result[0]["c"]
    assert bits.shape == (2, 3, 2000, 2)
    assert bits.dtype == bool
    expected = np.sin(angles[..., 0] / 2) ** 2
    spread = np.sqrt(expected * (1 - expected) / 2000)
    assert np.all(np.abs(bits[..., 0].mean(axis=-1) - expected) <= 5 * spread + 1e-9)
    assert bits[..., 1].all(), "the last axis goes by clbit index"
    assert result[0]["flag"].shape == (2, 3, 2000, 1)
    assert not result[0]["flag"].any()
    model = __import__(
        f"ibm_quantum_schemas.executor.version_{version[1:].replace('.', '_')}", fromlist=["x"]
    ).QuantumProgramResultModel
    model.model_validate(body)


@pytest.mark.parametrize("version", VERSIONS)
def test_samplex_items_come_back_raw_with_what_undoes_them(version: str) -> None:
    template, samplex = twirled_bell()
    quantum_program = QuantumProgram(shots=64)
    quantum_program.append_samplex_item(template, samplex, shape=(6, 4))
    result, _ = run(quantum_program, version)
    flips = result[0]["measurement_flips.c"]
    assert flips.shape == (6, 4, 1, 2)
    assert 0 < flips.mean() < 1
    raw = result[0]["c"]
    assert "parameter_values" not in result[0]
    assert (raw[..., 0] != raw[..., 1]).any(), "flips aren't undone by the server"
    plain = raw ^ flips
    assert (plain[..., 0] == plain[..., 1]).all()
    assert abs(plain[..., 0].mean() - 0.5) < 5 * 0.5 / np.sqrt(6 * 4 * 64)


def test_passthrough_and_role_are_echoed_to_the_byte() -> None:
    quantum_program = QuantumProgram(shots=5)
    quantum_program.append_circuit_item(QuantumCircuit(1, 1))
    _, raw = posted(Executor, lambda executor: executor.run(quantum_program))
    odd = b'{ "x":[1.0,1e-07 ,2E3, -0.0, 1234567890123456789012],"}\\"{": {"k":null}, "passthrough_data":[]}'
    params = raw.replace(b'"passthrough_data": null', b'"passthrough_data":' + odd)
    assert odd in params
    params = params.replace(b'"semantic_role": null', b'"semantic_role": "my_role"')
    body = work("executor", params, context())
    assert b'"passthrough_data":' + odd + b"}" in body
    assert json.loads(body)["semantic_role"] == "my_role"


@pytest.mark.parametrize(
    ("level", "keys"),
    [
        ("classified", {"c": (3, 50, 1)}),
        ("kerneled", {"c_iq": (3, 50, 1)}),
        ("avg_kerneled", {"c_avg_iq": (3, 1)}),
        ("both", {"c": (3, 50, 1), "c_iq": (3, 50, 1)}),
    ],
)
def test_levels_of_measurement(level: str, keys: dict[str, tuple[int, ...]]) -> None:
    circuit = QuantumCircuit(1)
    circuit.add_register(ClassicalRegister(1, "c"))
    circuit.rz(Parameter("t"), 0)
    circuit.measure(0, 0)
    quantum_program = QuantumProgram(shots=50, meas_level=level)
    quantum_program.append_circuit_item(circuit, circuit_arguments=np.zeros((3, 1)))
    result, _ = run(quantum_program)
    assert {name: array.shape for name, array in result[0].items()} == keys
    assert all(array.dtype == (bool if name == "c" else complex) for name, array in result[0].items())


def test_chunk_sizes_are_kept_in_a_session_and_told() -> None:
    quantum_program = QuantumProgram(shots=3)
    quantum_program.append_circuit_item(rotation(), circuit_arguments=np.zeros((2, 5, 1)), chunk_size=4)
    result, body = run(quantum_program, in_session=True)
    ranges = [part["element_range"] for chunk in body["metadata"]["chunk_timing"] for part in chunk["parts"]]
    assert ranges == [[0, 4, 1], [4, 8, 1], [8, 10, 1]]
    assert [chunk.parts[0].size for chunk in result.metadata.chunk_timing] == [4, 4, 2]
    assert all(chunk.start < chunk.stop for chunk in result.metadata.chunk_timing)


def test_chunk_sizes_are_the_qpus_own_outside_of_sessions(caplog: pytest.LogCaptureFixture) -> None:
    quantum_program = QuantumProgram(shots=3)
    quantum_program.append_circuit_item(rotation(), circuit_arguments=np.zeros((2, 5, 1)), chunk_size=4)
    result, _ = run(quantum_program)
    assert [chunk.parts[0].size for chunk in result.metadata.chunk_timing] == [10]
    assert "quantum_program.items[0].chunk_size counts in sessions only" in caplog.text


def test_item_shape_extends_the_arguments() -> None:
    quantum_program = QuantumProgram(shots=3)
    quantum_program.append_circuit_item(rotation(), circuit_arguments=np.zeros((5, 1)))
    _, raw = posted(Executor, lambda executor: executor.run(quantum_program))
    tree = json.loads(raw)
    tree["quantum_program"]["items"][0]["shape"] = [4, 1]
    body = work("executor", json.dumps(tree).encode(), context())
    assert ExecutorResultDecoder.decode(body.decode())[0]["c"].shape == (4, 5, 3, 2)
    tree["quantum_program"]["items"][0]["shape"] = [3]
    with pytest.raises(JobError, match="doesn't broadcast"):
        work("executor", json.dumps(tree).encode(), context())


def test_timing_and_stretches_are_given_on_request() -> None:
    quantum_program = QuantumProgram(shots=3)
    quantum_program.append_circuit_item(QuantumCircuit(1, 1))
    _, without = run(quantum_program)
    assert without["data"][0]["metadata"] == {"scheduler_timing": None, "stretch_values": None}
    _, with_them = run(quantum_program, scheduler_timing=True, stretch_values=True)
    told = with_them["data"][0]["metadata"]
    assert told["scheduler_timing"]["timing"]
    assert told["scheduler_timing"]["circuit_duration"] == round(4e-6 / context().device.dt_seconds)
    assert told["stretch_values"] == []


def test_open_qasm_wherever_a_circuit_may_stand() -> None:
    quantum_program = QuantumProgram(shots=100)
    quantum_program.append_circuit_item(rotation(), circuit_arguments=np.array([np.pi]))
    _, raw = posted(Executor, lambda executor: executor.run(quantum_program))
    tree = json.loads(raw)
    tree["quantum_program"]["circuits"] = {"data": [qasm3.dumps(rotation())]}
    body = work("executor", json.dumps(tree).encode(), context())
    assert ExecutorResultDecoder.decode(body.decode())[0]["c"].all()


def test_twirled_sampler_of_the_client_gives_the_distribution() -> None:
    circuit = QuantumCircuit(5, 2)
    circuit.rz(np.pi / 2, 1)
    circuit.sx(1)
    circuit.rz(np.pi / 2, 1)
    circuit.cx(1, 2)
    circuit.measure([1, 2], [0, 1])
    options = {"twirling": {"enable_gates": True, "enable_measure": True, "strategy": "active"}}
    program_id, raw = posted(
        lambda machine: ExecutorSampler(machine, options=options), lambda s: s.run([circuit], shots=4096)
    )
    assert program_id == "executor"
    body = work("executor", raw, context())
    from qiskit_ibm_runtime.decoders.executor_sampler.decoder import ClientSideSamplerResultDecoder

    result = ClientSideSamplerResultDecoder.decode(ExecutorResultDecoder.decode(body.decode()))
    counts = result[0].data.c.get_counts()
    assert set(counts) == {"00", "11"}
    assert abs(counts["00"] / 4096 - 0.5) < 5 * 0.5 / 64


def test_noise_reaches_the_result() -> None:
    circuit = QuantumCircuit(5, 1)
    circuit.measure(0, 0)
    quantum_program = QuantumProgram(shots=20_000)
    quantum_program.append_circuit_item(circuit)
    _, raw = posted(Executor, lambda executor: executor.run(quantum_program))
    body = work("executor", raw, context(), noise=device_noise())
    ones = ExecutorResultDecoder.decode(body.decode())[0]["c"].mean()
    expected = backend().target["measure"][(0,)].error
    assert abs(ones - expected) < 5 * np.sqrt(expected * (1 - expected) / 20_000)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tree: tree.update(schema_version="v3.0"), "v3.0"),
        (lambda tree: tree.pop("schema_version"), "schema_version"),
        (lambda tree: tree["options"].update(turbo=True), "turbo"),
        (lambda tree: tree["options"].update(experimental={"magic": 1}), "magic"),
        (lambda tree: tree["options"].update(rep_delay=1.0), "rep_delay"),
        (lambda tree: tree["quantum_program"].update(shots=0), "shots"),
        (lambda tree: tree["quantum_program"].update(meas_level="raw"), "meas_level"),
        (lambda tree: tree["quantum_program"]["items"].clear(), "items"),
        (lambda tree: tree["quantum_program"]["items"][0].update(chunk_size=0), "chunk_size"),
        (lambda tree: tree["quantum_program"]["items"][0].update(shape=[10**7, 10**7]), "limit|possible"),
        (lambda tree: tree["quantum_program"]["circuits"].update(qpy_version=12), "qpy_version"),
    ],
)
def test_what_is_wrong_is_named(change: Any, words: str) -> None:
    quantum_program = QuantumProgram(shots=3)
    quantum_program.append_circuit_item(QuantumCircuit(1, 1))
    _, raw = posted(Executor, lambda executor: executor.run(quantum_program))
    tree = json.loads(raw)
    change(tree)
    with pytest.raises(JobError, match=words):
        program("executor").prepare(open_params(json.dumps(tree).encode(), context().limits), context())


def test_circuits_outside_the_instruction_set_are_refused() -> None:
    circuit = QuantumCircuit(2, 1)
    circuit.h(0)
    circuit.measure(0, 0)
    quantum_program = QuantumProgram(shots=3)
    quantum_program.append_circuit_item(circuit)
    _, raw = posted(Executor, lambda executor: executor.run(quantum_program))
    with pytest.raises(JobError) as caught:
        work("executor", raw, context())
    assert caught.value.code == 1517
    assert "The instruction h on qubits (0,) is not supported by the target system" in caught.value.message


def test_a_dry_run_has_the_same_shapes() -> None:
    quantum_program = QuantumProgram(shots=30)
    quantum_program.append_circuit_item(rotation(), circuit_arguments=np.zeros((2, 1)))
    _, raw = posted(Executor, lambda executor: executor.run(quantum_program))
    body = work("executor", raw, context(mock=True))
    bits = ExecutorResultDecoder.decode(body.decode())[0]["c"]
    assert bits.shape == (2, 30, 2)
    assert 0.2 < bits.mean() < 0.8


def test_what_is_in_boxes_runs_where_they_stand() -> None:
    circuit = QuantumCircuit(QuantumRegister(5), ClassicalRegister(3, "c"))
    with circuit.box([Twirl()]):
        circuit.x(0)
        with circuit.box():
            circuit.cx(0, 1)
    circuit.measure(1, 0)
    with circuit.if_test((circuit.clbits[0], 1)), circuit.box():
        circuit.x(3)
    with circuit.box():
        circuit.measure([0, 3], [1, 2])
    quantum_program = QuantumProgram(shots=20)
    quantum_program.append_circuit_item(circuit)
    result, _ = run(quantum_program)
    assert result[0]["c"].all()


def test_a_box_with_a_duration_is_refused() -> None:
    circuit = QuantumCircuit(QuantumRegister(5), ClassicalRegister(1, "c"))
    with circuit.box(duration=1000):
        circuit.x(0)
    circuit.measure(0, 0)
    quantum_program = QuantumProgram(shots=20)
    quantum_program.append_circuit_item(circuit)
    with pytest.raises(JobError, match=r"items\[0\].*duration"):
        run(quantum_program)
