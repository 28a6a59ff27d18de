"""The sampler: the legacy class's payloads and hand-written ones, decoded as the client does."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from lab import context, decoded, device_noise, posted, work
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library import RXGate
from qiskit.quantum_info import Operator
from qiskit_aer.noise import NoiseModel, ReadoutError, coherent_unitary_error, pauli_error
from qiskit_ibm_runtime import RuntimeEncoder, SamplerV2

from ketline.programs.base import Limits, open_params, program
from ketline.units.errors import JobError

PAIRS = (
    'OPENQASM 3.0; include "stdgates.inc"; bit[2] c; rz(pi/2) $1; sx $1; rz(pi/2) $1; cx $1, $2;'
    "c[0] = measure $1; c[1] = measure $2;"
)


def bell(metadata: dict[str, Any] | None = None) -> QuantumCircuit:
    circuit = QuantumCircuit(QuantumRegister(5), ClassicalRegister(2, "c"), metadata=metadata)
    circuit.rz(np.pi / 2, 1)
    circuit.sx(1)
    circuit.rz(np.pi / 2, 1)
    circuit.cx(1, 2)
    circuit.measure([1, 2], [0, 1])
    return circuit


def sweep() -> QuantumCircuit:
    """Qubit 0 turned by ``b + a[0] - a[1]`` about x."""
    a, b = ParameterVector("a", 2), Parameter("b")
    circuit = QuantumCircuit(5, 1)
    circuit.rz(np.pi / 2, 0)
    circuit.sx(0)
    circuit.rz(b + a[0] - a[1] + np.pi, 0)
    circuit.sx(0)
    circuit.measure(0, 0)
    return circuit


def run(pubs: list[Any], options: dict[str, Any] | None = None, noise: Any = None, **call: Any) -> Any:
    program_id, raw = posted(
        lambda machine: SamplerV2(machine, options=options), lambda s: s.run(pubs, **call)
    )
    assert program_id == "sampler"
    return decoded(work("sampler", raw, context(), noise=noise))


def by_hand(params: dict[str, Any], **changes: Any) -> bytes:
    return work("sampler", json.dumps(params, cls=RuntimeEncoder).encode(), context(**changes))


def test_default_shots_metadata_and_spans() -> None:
    result = run([bell(metadata={"name": "x", "when": [1, 2]})])
    assert result[0].data.c.num_shots == 4096
    counts = result[0].data.c.get_counts()
    assert set(counts) == {"00", "11"}
    assert abs(counts["00"] - 2048) < 5 * 32
    assert result[0].metadata == {"circuit_metadata": {"name": "x", "when": [1, 2]}}
    assert result.metadata["version"] == 2
    (span,) = result.metadata["execution"]["execution_spans"]
    assert span.pub_idxs == [0]
    assert span.mask(0).shape == (4096,)
    assert span.mask(0).all()


@pytest.mark.parametrize("twirled", [False, True])
def test_sweeps_of_any_shape_follow_the_angles(twirled: bool) -> None:
    rng = np.random.default_rng(5)
    values = rng.uniform(-np.pi, np.pi, (3, 2, 2, 3))
    options = {"twirling": {"enable_measure": True, "enable_gates": True}} if twirled else None
    result = run([(sweep(), values)], options, shots=1000)
    bits = result[0].data.c
    assert bits.shape == (3, 2, 2)
    assert bits.num_shots == 1000
    angles = values[..., 0] - values[..., 1] + values[..., 2]
    expected = np.sin(angles / 2) ** 2
    seen = bits.array[..., 0].mean(axis=-1)
    assert np.all(np.abs(seen - expected) <= 5 * np.sqrt(expected * (1 - expected) / 1000) + 1e-9)
    mask = sum(span.mask(0).astype(int) for span in result.metadata["execution"]["execution_spans"])
    assert mask.shape == (3, 2, 2, 1000)
    assert (mask == 1).all()


def test_several_registers_and_shots_of_each_pub() -> None:
    circuit = QuantumCircuit(QuantumRegister(5), ClassicalRegister(9, "wide"), ClassicalRegister(1, "flag"))
    circuit.x(4)
    circuit.measure(4, 8)
    circuit.measure(0, 0)
    circuit.measure(4, 9)
    pubs = [(circuit, None, 10), (bell(), None, 20)]
    program_id, raw = posted(SamplerV2, lambda s: s.run(pubs))
    result = decoded(work(program_id, raw, context()))
    assert result[0].data.wide.get_counts() == {"100000000": 10}
    assert result[0].data.flag.get_counts() == {"1": 10}
    assert result[1].data.c.num_shots == 20


def test_measurement_in_the_middle_and_control_flow() -> None:
    circuit = QuantumCircuit(QuantumRegister(5), ClassicalRegister(1, "first"), ClassicalRegister(1, "last"))
    circuit.sx(0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(0)
    circuit.measure(0, 1)
    result = run([circuit], shots=500)
    assert result[0].data.last.get_counts() == {"0": 500}
    assert 150 < result[0].data.first.get_counts()["1"] < 350


def test_twirling_shots_win_over_products() -> None:
    options = {"twirling": {"enable_gates": True, "num_randomizations": 7, "shots_per_randomization": 9}}
    result = run([bell()], options)
    assert result[0].data.c.num_shots == 63
    assert result[0].metadata["num_randomizations"] == 7
    result = run([bell()], options, shots=100)
    assert result[0].data.c.num_shots == 100
    assert result[0].metadata["num_randomizations"] == 12
    (span,) = result.metadata["execution"]["execution_spans"]
    assert span.mask(0).shape == (100,)
    assert span.mask(0).all()


def test_twirling_makes_a_coherent_error_stochastic() -> None:
    """After each of ten cx, its control turns by 0.1 about x: half of the errors reach the end as X, half XX.

    Coherent ones add up in angle (0.5 each), twirled ones in rate.
    """
    angle, shots = 0.1, 8192
    noise = NoiseModel()
    over = Operator(np.kron(np.eye(2), RXGate(angle).to_matrix()))
    noise.add_all_qubit_quantum_error(coherent_unitary_error(over), ["cx"])
    circuit = QuantumCircuit(5, 2)
    for _ in range(10):
        circuit.cx(0, 1)
        circuit.barrier(0, 1)
    circuit.measure([0, 1], [0, 1])
    plain = run([circuit], shots=shots, noise=noise)[0].data.c.get_counts()
    options = {"twirling": {"enable_gates": True, "num_randomizations": 512, "shots_per_randomization": 16}}
    twirled = run([circuit], options, shots=shots, noise=noise)[0].data.c.get_counts()
    together = 1 - np.cos(5 * angle / 2) ** 4
    rate = (1 - (1 - 2 * np.sin(angle / 2) ** 2) ** 5) / 2
    apart = 1 - (1 - rate) ** 2
    assert apart < together / 4
    assert abs(1 - plain["00"] / shots - together) < 5 * np.sqrt(together / shots)
    # Signs are drawn once a randomisation, so that its rate spreads by about as much as it is.
    assert abs(1 - twirled["00"] / shots - apart) < 5 * np.sqrt(2 * apart**2 / 512 + apart / shots)


def test_measurement_twirling_balances_readout_errors() -> None:
    noise = NoiseModel()
    noise.add_all_qubit_readout_error(ReadoutError([[1.0, 0.0], [0.2, 0.8]]))
    circuit = QuantumCircuit(5, 1)
    circuit.measure(0, 0)
    shots = 8192
    plain = run([circuit], shots=shots, noise=noise)[0].data.c.get_counts()
    assert plain == {"0": shots}
    options = {"twirling": {"enable_measure": True, "num_randomizations": 512, "shots_per_randomization": 16}}
    ones = run([circuit], options, shots=shots, noise=noise)[0].data.c.get_counts()["1"] / shots
    # Half of the randomisations read |1> and err one time in five.
    spread = np.sqrt(0.25 * 0.2**2 / 512 + 0.5 * 0.2 * 0.8 / shots)
    assert abs(ones - 0.1) < 5 * spread


@pytest.mark.parametrize(("kind", "shape"), [("kerneled", (2, 30, 1)), ("avg_kerneled", (2, 1))])
def test_points_instead_of_bits(kind: str, shape: tuple[int, ...]) -> None:
    values = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, np.pi]])
    result = run([(sweep(), values)], {"execution": {"meas_type": kind}}, shots=30)
    points = result[0].data.c
    assert points.shape == shape
    assert np.iscomplexobj(points)
    assert points[0].real.mean() < 0 < points[1].real.mean()


def test_noise_reaches_the_result() -> None:
    circuit = QuantumCircuit(5, 1)
    circuit.measure(3, 0)
    result = run([circuit], shots=20_000, noise=device_noise())
    from lab import backend

    expected = backend().target["measure"][(3,)].error
    ones = result[0].data.c.get_counts()["1"] / 20_000
    assert abs(ones - expected) < 5 * np.sqrt(expected / 20_000)


def test_seed_makes_a_twirled_job_repeatable() -> None:
    options = {"simulator": {"seed_simulator": 11}, "twirling": {"enable_measure": True}}
    _, raw = posted(lambda machine: SamplerV2(machine, options=options), lambda s: s.run([bell()]))
    units = [program("sampler").prepare(open_params(raw, Limits()), context()).unit for _ in range(2)]
    assert units[0].seed == 11
    assert np.array_equal(units[0].items[0].parameter_values, units[1].items[0].parameter_values)


def test_experimental_options_come_through_the_client() -> None:
    asked = {"scheduler_timing": True, "allow_approximation": False}
    options = {"experimental": {"execution": asked}}
    _, raw = posted(lambda machine: SamplerV2(machine, options=options), lambda s: s.run([bell()]))
    unit = program("sampler").prepare(open_params(raw, Limits()), context()).unit
    assert unit.scheduler_timing
    assert not unit.allow_approximation
    told = decoded(work("sampler", raw, context()))[0].metadata["compilation"]["scheduler_timing"]
    assert told["circuit_duration"] > 0


def test_simulator_options_reach_the_unit() -> None:
    noise = NoiseModel()
    noise.add_all_qubit_quantum_error(pauli_error([("X", 0.1), ("I", 0.9)]), ["x"])
    options = {"simulator": {"noise_model": noise, "coupling_map": [[0, 1]], "basis_gates": ["x", "cx"]}}
    _, raw = posted(lambda machine: SamplerV2(machine, options=options), lambda s: s.run([bell()]))
    unit = program("sampler").prepare(open_params(raw, Limits()), context()).unit
    assert unit.simulator["coupling_map"] == [[0, 1]]
    assert unit.simulator["basis_gates"] == ["x", "cx"]
    assert unit.simulator["noise_model"]["errors"]
    json.dumps(unit.simulator)


# Requests written by hand, as documented for REST.


def test_open_qasm_text_and_plain_lists() -> None:
    theta = (
        'OPENQASM 3.0; include "stdgates.inc"; input float theta; bit[1] c;'
        "rz(pi/2) $4; sx $4; rz(theta + pi) $4; sx $4; c[0] = measure $4;"
    )
    params = {
        "pubs": [[PAIRS], [theta, [0.0, np.pi], 7], [theta, {"theta": [[0.0], [np.pi]]}, 8], PAIRS],
        "shots": 50,
        "options": {},
    }
    result = decoded(by_hand(params))
    assert set(result[0].data.c.get_counts()) == {"00", "11"}
    assert result[0].data.c.num_shots == 50
    assert [result[1].data.c[i].get_counts() for i in range(2)] == [{"0": 7}, {"1": 7}]
    assert result[2].data.c.shape == (2,), "Qiskit takes a last axis of one for the parameter's own"
    assert result[2].data.c.num_shots == 8
    assert result[3].data.c.num_shots == 50


def test_vectors_may_be_named_as_a_whole() -> None:
    params = {"pubs": [[sweep(), {"a": [[0.0, 0.0], [np.pi, 0.0]], "b": [0.0, 0.0]}, 5]], "version": 2}
    result = decoded(by_hand(params))
    assert [result[0].data.c[i].get_counts() for i in range(2)] == [{"0": 5}, {"1": 5}]


def test_plain_json_without_qiskit() -> None:
    body = json.loads(by_hand({"pubs": [[PAIRS, None, 40]], "support_qiskit": False}))
    data = body["results"][0]["data"]["c"]
    assert data["num_bits"] == 2
    assert len(data["samples"]) == 40
    assert set(data["samples"]) <= {"0x0", "0x3"}
    body = json.loads(by_hand({"pubs": [[sweep(), [[0, 0, 0], [0, 0, np.pi]], 3]], "support_qiskit": False}))
    assert body["results"][0]["data"]["c"]["samples"] == [["0x0"] * 3, ["0x1"] * 3]


def test_circuits_without_classical_registers_give_no_data() -> None:
    circuit = QuantumCircuit(5)
    circuit.x(0)
    result = decoded(by_hand({"pubs": [[circuit, None, 5]]}))
    assert list(result[0].data) == []


# What is refused.


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"pubs": []}, "pubs"),
        ({}, "pubs"),
        ({"pubs": [[PAIRS]], "extra": 1}, "extra"),
        ({"pubs": [[PAIRS]], "version": 1}, "version"),
        ({"pubs": [[PAIRS]], "options": {"shots": 5}}, r"options\.shots"),
        ({"pubs": [[PAIRS]], "options": {"twirling": {"enable": True}}}, r"options\.twirling\.enable"),
        ({"pubs": [[PAIRS]], "options": {"twirling": {"strategy": "most"}}}, r"twirling\.strategy"),
        ({"pubs": [[PAIRS]], "options": {"execution": {"rep_delay": 10.0}}}, "rep_delay"),
        ({"pubs": [[PAIRS]], "options": {"experimental": {"wings": 1}}}, "wings"),
        ({"pubs": [[PAIRS]], "options": {"default_shots": 0}}, "default_shots"),
        ({"pubs": [[PAIRS, [0.5]]]}, "no parameters"),
        ({"pubs": [[PAIRS, None, -3]]}, "shots"),
        ({"pubs": [[sweep(), [[0.0, 1.0]]]]}, "parameter values"),
        ({"pubs": [[sweep(), {"z": [0.0]}]]}, "'a"),
        ({"pubs": [[sweep(), [[0.0, float("1e400"), 1.0]]]]}, "JSON|finite"),
        ({"pubs": [[PAIRS, None, 1, 2]]}, "parts"),
        (
            {"pubs": [[{"__type__": "settings", "__module__": "os", "__class__": "x", "__value__": {}}]]},
            "circuit",
        ),
        (
            {
                "pubs": [[PAIRS]],
                "options": {"execution": {"meas_type": "kerneled"}, "twirling": {"enable_measure": True}},
            },
            "enable_measure",
        ),
    ],
)
def test_what_is_wrong_is_named(params: dict[str, Any], words: str) -> None:
    with pytest.raises(JobError, match=words):
        by_hand(params)


def test_instruction_set_qubits_and_duplicates() -> None:
    hadamard = QuantumCircuit(5, 1)
    hadamard.h(0)
    hadamard.measure(0, 0)
    with pytest.raises(JobError) as caught:
        by_hand({"pubs": [[hadamard]]})
    assert caught.value.code == 1517
    assert "The instruction h on qubits (0,) is not supported by the target system" in caught.value.message
    far = QuantumCircuit(5, 1)
    far.cx(0, 4)
    far.measure(0, 0)
    with pytest.raises(JobError, match=r"cx on qubits \(0, 4\)"):
        by_hand({"pubs": [[far]]})
    with pytest.raises(JobError, match="qubit 6"):
        by_hand({"pubs": [['OPENQASM 3.0; include "stdgates.inc"; bit[1] c; x $6; c[0] = measure $6;']]})
    inside = QuantumCircuit(5, 1)
    with inside.if_test((inside.clbits[0], 1)):
        inside.y(0)
    with pytest.raises(JobError, match="instruction y"):
        by_hand({"pubs": [[inside]]})
    assert by_hand({"pubs": [[hadamard, None, 5]]}, simulator=True)


def test_fractional_angles_stay_where_they_are_calibrated() -> None:
    theta = Parameter("t")
    circuit = QuantumCircuit(2, 2)
    circuit.rzz(theta / 2, 0, 1)
    circuit.rx(0.3, 0)
    circuit.measure([0, 1], [0, 1])
    where = context("fez")
    raw = {"pubs": [[circuit, [[0.0], [np.pi]], 5]]}
    assert work("sampler", json.dumps(raw, cls=RuntimeEncoder).encode(), where)
    for angle in (-0.1, 3.2):
        raw = {"pubs": [[circuit, [[0.1], [angle]], 5]]}
        with pytest.raises(JobError, match=r"rzz\(.*\) on qubits \(0, 1\)") as caught:
            work("sampler", json.dumps(raw, cls=RuntimeEncoder).encode(), where)
        assert caught.value.code == 1517


def test_limits_are_checked_before_anything_runs() -> None:
    angles = np.zeros((4, 3))
    for limits, words in (
        (Limits(max_executions=7999), "8,000 exceeds the limit of 7,999"),
        (Limits(max_instructions_per_qubit=200), "instructions on qubit"),
        (Limits(max_sx_gates=1), "sx gates"),
        (Limits(max_result_bytes=1000), "bytes of measured data"),
    ):
        with pytest.raises(JobError, match=words):
            by_hand({"pubs": [[sweep(), angles, 2000]]}, limits=limits)
    assert by_hand({"pubs": [[sweep(), angles, 2000]]}, limits=Limits(max_executions=8000))


def test_faulty_qubits_are_refused() -> None:
    from dataclasses import replace

    from lab import device

    machine = device()
    properties = json.loads(json.dumps(machine.properties))
    properties["qubits"][1].append(
        {"date": "2026-01-01T00:00:00Z", "name": "operational", "unit": "", "value": 0}
    )
    with pytest.raises(JobError) as caught:
        by_hand({"pubs": [[bell()]]}, device=replace(machine, properties=properties))
    assert caught.value.code == 1517


def test_preparing_is_quick_and_no_slower_by_circuit_for_many() -> None:
    import time

    def cost(count: int) -> float:
        _, raw = posted(SamplerV2, lambda s: s.run([bell()] * count))
        made, where = program("sampler"), context()
        best = np.inf
        for _ in range(3):
            start = time.process_time()
            made.prepare(open_params(raw, where.limits), where)
            best = min(best, time.process_time() - start)
        return best / count

    one, many = cost(1), cost(200)
    assert one < 0.02
    assert many < 1.5 * one + 0.0005
