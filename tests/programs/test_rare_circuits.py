"""Circuits and values that are rare, on the emulated QPU: they come out right, or are refused by name."""

from __future__ import annotations

import base64
import io
import json
import re
import time
import zlib
from typing import Any

import numpy as np
import pytest
from ibm_quantum_schemas.common import CompressedQpyDataModel, SamplexModel
from ibm_quantum_schemas.common.tensor import CompressedTensorModel
from lab import context, decoded, emulated, simulator_device
from qiskit import ClassicalRegister, QuantumCircuit, qpy
from qiskit.circuit import Clbit, Gate, Parameter
from qiskit.circuit.classical import expr, types
from qiskit.circuit.library import CCXGate, RZZGate
from qiskit.quantum_info import PauliList
from qiskit_ibm_runtime import RuntimeEncoder
from qiskit_ibm_runtime.results.noise_learner import LayerError, PauliLindbladError
from samplomatic import Twirl, build

from ketline.programs import state as states
from ketline.qpus import expanding
from ketline.units.errors import JobError


def run(program_id: str, params: dict[str, Any], name: str = "manila", **changes: Any) -> Any:
    raw = json.dumps(params, cls=RuntimeEncoder).encode()
    if changes.get("simulator"):
        changes["device"] = simulator_device(name)
    return decoded(emulated(program_id, raw, context(name, **changes)))


def flipped(**more: Any) -> QuantumCircuit:
    circuit = QuantumCircuit(1, 1, **more)
    circuit.x(0)
    circuit.measure(0, 0)
    return circuit


@pytest.mark.parametrize(
    "metadata",
    [
        {"__array__": ["<f8", [3], 0]},
        {"a": {"__array__": ["O", [10**9], 0]}},
        {"seed": 2**100},
        {"text": "\ud800"},
    ],
)
def test_metadata_come_back_as_they_were(metadata: dict[str, Any]) -> None:
    circuit = flipped(metadata=metadata)
    for program_id, pub in (("sampler", [circuit, None, 4]), ("estimator", [circuit, "Z", None, 0.5])):
        result = run(program_id, {"pubs": [pub]})
        assert result[0].metadata["circuit_metadata"] == metadata


def test_metadata_that_nobody_could_walk_through_are_refused() -> None:
    deep: list[Any] = []
    for _ in range(400):
        deep = [deep]
    with pytest.raises(JobError, match=r"pubs\[0\] circuit metadata: nested more than 200 deep"):
        run("sampler", {"pubs": [[flipped(metadata={"deep": deep}), None, 4]]})


def test_registers_may_have_any_name() -> None:
    circuit = QuantumCircuit(1)
    circuit.add_register(ClassicalRegister(1, "__array__"))
    circuit.x(0)
    circuit.measure(0, 0)
    options = {"twirling": {"enable_measure": True}}
    result = run("sampler", {"pubs": [[circuit, None, 64]], "options": options})
    assert np.mean(result[0].data["__array__"].array) > 0.8
    tree = {"__array__": {"__array___": [1, 2]}, "b": np.arange(3)}
    again = states.unpack(states.pack(tree))
    assert again["__array__"] == {"__array___": [1, 2]}
    assert again["b"].tolist() == [0, 1, 2]


def turned(angle: Any) -> QuantumCircuit:
    """Reads 1 with probability ``cos(angle / 2)**2``."""
    circuit = QuantumCircuit(1, 1)
    circuit.sx(0)
    circuit.rz(angle, 0)
    circuit.sx(0)
    circuit.measure(0, 0)
    return circuit


X = Parameter("x")
TWIRLED = {"twirling": {"enable_gates": True, "enable_measure": True}}


@pytest.mark.parametrize("options", [{}, TWIRLED])
def test_angles_may_be_any_function(options: dict[str, Any]) -> None:
    values = [[-0.8], [0.6]]
    pubs = [[turned(angle), values, 4000] for angle in (X.sign(), abs(X), X.exp(), (X / 2).arcsin(), 2**X)]
    result = run("sampler", {"pubs": pubs, "options": options}, simulator=True)
    for pub, function in zip(
        result, (np.sign, np.abs, np.exp, lambda x: np.arcsin(x / 2), np.exp2), strict=True
    ):
        seen = pub.data.c.array[..., 0].mean(axis=1)
        expected = np.cos(function(np.array(values)[:, 0]) / 2) ** 2
        assert np.abs(seen - expected).max() < 0.05


@pytest.mark.parametrize("options", [{}, TWIRLED])
@pytest.mark.parametrize(
    ("angle", "value"),
    [(1 / X, 0.0), (X.log(), 0.0), (X.log(), -1.0), (X.arcsin(), 2.0), (X**0.5, -1.0), (X.exp(), 1e300)],
)
def test_an_angle_that_is_no_number_is_named(angle: Any, value: float, options: dict[str, Any]) -> None:
    with pytest.raises(JobError, match=re.escape(f"isn't a finite real number at x = {value:g}")):
        run("sampler", {"pubs": [[turned(angle), [[0.5], [value]], 4]], "options": options})


def test_a_circuit_may_end_in_a_branch() -> None:
    ended = QuantumCircuit(1, 1)
    ended.x(0)
    with ended.while_loop((ended.clbits[0], 0)):
        ended.x(0)
        ended.measure(0, 0)
    branched = QuantumCircuit(1, 1)
    with branched.if_test((branched.clbits[0], 0)):
        branched.x(0)
        branched.measure(0, 0)
    result = run("sampler", {"pubs": [[ended, None, 20], [branched, None, 20]]}, simulator=True)
    assert [pub.data.c.get_counts() for pub in result] == [{"1": 20}, {"1": 20}]


def rare(kind: str) -> QuantumCircuit:
    """A circuit that can't be run."""
    circuit = QuantumCircuit(2, 2)
    if kind in ("nan", "inf"):
        circuit.rz(float(kind), 0)
    elif kind == "parametric delay":
        circuit.delay(Parameter("t"), 0, "dt")
    elif kind == "unreadable delay":
        circuit.delay(1e-300, 0, "s")
    elif kind == "input":
        with circuit.if_test(circuit.add_input("given", types.Bool())):
            circuit.x(0)
    elif kind == "turns":
        with circuit.for_loop(range(10**12)):
            circuit.barrier(0)
    elif kind == "endless":
        with circuit.for_loop(range(-(2**62), 2**62)):
            circuit.x(0)
    elif kind == "rzz of a loop":
        turn = Parameter("i")
        with circuit.for_loop([1, 2], turn):
            circuit.rzz(turn * 1.0, 0, 1)
    else:
        with circuit.if_test((circuit.clbits[0], 0)):
            circuit.rzz(Parameter("a"), 0, 1)
    circuit.measure(0, 0)
    return circuit


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("nan", "rz has the angle nan"),
        ("inf", "rz has the angle inf"),
        ("parametric delay", "the length of a delay is the parameter t"),
        ("unreadable delay", "of a delay can't be read"),
        ("input", "the input variable given, for which a job has no value"),
        ("turns", "turns of loops in circuit 0: 1,000,000,000,000 exceeds the limit"),
        ("endless", "exceeds the limit"),
        ("rzz of a loop", r"rzz\(2\) on qubits \(0, 1\) is not supported"),
        ("rzz in a branch", r"rzz\(-0.5\) on qubits \(0, 1\) is not supported"),
    ],
)
def test_what_cannot_be_run_is_named(kind: str, words: str) -> None:
    circuit = rare(kind)
    values = [[-0.5]] if circuit.num_parameters else None
    name = "fractional" if "rzz" in kind else "manila"
    with pytest.raises(JobError, match=words):
        run("sampler", {"pubs": [[circuit, values, 4]]}, name)


def test_a_global_phase_is_no_matter() -> None:
    """Its parameters may be its own, or those of gates too."""
    y = Parameter("y")
    values = [[0.3, 2.0], [2.0, 0.3]]  # x, y
    sampled = turned(X)
    sampled.global_phase = y - X
    observed = sampled.remove_final_measurements(inplace=False)
    expected = -np.cos(np.array(values)[:, 0])
    for options in ({}, TWIRLED):
        result = run("sampler", {"pubs": [[sampled, values, 4000]], "options": options}, simulator=True)
        ones = result[0].data.c.array[..., 0].mean(axis=1)
        assert np.abs(1 - 2 * ones - expected).max() < 0.1
    for level in (0, 1, 2):
        params = {"pubs": [[observed, "Z", values, 0.02]], "resilience_level": level}
        assert np.abs(run("estimator", params, simulator=True)[0].data.evs - expected).max() < 0.3
    alone = flipped(global_phase=X)
    assert run("sampler", {"pubs": [[alone, [[0.1]], 64]], "options": TWIRLED})[0].data.c.array.mean() > 0.8


def test_bits_without_a_register_are_twirled_like_others() -> None:
    circuit = QuantumCircuit(2)
    circuit.add_bits([Clbit()])
    circuit.add_register(ClassicalRegister(1, "_loose0"))
    circuit.x([0, 1])
    circuit.measure([0, 1], [0, 1])
    result = run("sampler", {"pubs": [[circuit, None, 256]], "options": TWIRLED}, simulator=True)
    assert list(result[0].data) == ["_loose0"]
    assert result[0].data["_loose0"].get_counts() == {"1": 256}


def test_a_simulator_has_no_time_for_decoupling() -> None:
    options = {"dynamical_decoupling": {"enable": True}}
    with pytest.raises(JobError, match="this backend doesn't tell how long its gates take"):
        run("sampler", {"pubs": [[flipped(), None, 4]], "options": options}, simulator=True)


def test_nothing_can_be_decoupled_and_twirled() -> None:
    options = {**TWIRLED, "dynamical_decoupling": {"enable": True}}
    result = run("sampler", {"pubs": [[QuantumCircuit(2, 2), None, 64]], "options": options})
    assert result[0].data.c.get_counts() == {"00": 64}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"precision": 1e-300}, "shots for the precision 1e-300: inf exceeds the limit"),
        ({"precision": 1e-160}, "shots for the precision 1e-160: inf exceeds"),
        ({"precision": 1e-9}, "shots for the precision 1e-09: 9.99"),
        ({"resilience": {"measure_noise_learning": {"num_randomizations": 10**9}}}, "measure_noise_learning"),
        ({"resilience": {"zne_mitigation": True, "zne": {"noise_factors": [1, 3, 1e9]}}}, "after folding"),
        ({"resilience": {"zne_mitigation": True, "zne": {"noise_factors": [1, 3, 1e300]}}}, "after folding"),
        (
            {
                "resilience": {
                    "pec_mitigation": True,
                    "layer_noise_learning": {"num_randomizations": 10**9},
                }
            },
            r"options.resilience.layer_noise_learning.num_randomizations",
        ),
    ],
)
def test_sizes_beyond_all_measure_are_refused_at_once(change: dict[str, Any], words: str) -> None:
    circuit = QuantumCircuit(2)
    circuit.cx(0, 1)
    params = {"pubs": [[circuit, "ZZ", None, change.get("precision")]]}
    with pytest.raises(JobError, match=words):
        run("estimator", {**params, "options": {k: v for k, v in change.items() if k != "precision"}})


def test_observables_that_share_a_measurement_are_counted_once() -> None:
    circuit = QuantumCircuit(2)
    for _ in range(40):
        circuit.cx(0, 1)
    options = {"twirling": {"num_randomizations": 24}}
    params = {"pubs": [[circuit, [["ZZ"] * 25] * 25, None, 0.2]], "resilience_level": 2, "options": options}
    assert run("estimator", params)[0].data.evs.shape == (25, 25)


def test_a_precision_beyond_one_takes_a_shot() -> None:
    result = run("estimator", {"pubs": [[QuantumCircuit(1), "Z", None, 1e10]]})
    assert np.isfinite(result[0].data.evs)
    assert result[0].metadata["shots"] >= 1


@pytest.mark.parametrize("depths", [[0, 10**9], [0, 10**6]])
def test_layers_that_would_fill_the_limit_alone_are_not_learned(depths: list[int]) -> None:
    circuit = QuantumCircuit(2)
    circuit.cx(0, 1)
    with pytest.raises(JobError, match="layer_pair_depths: low-level instructions on a qubit"):
        run("noise-learner", {"circuits": [circuit], "options": {"layer_pair_depths": depths}})


@pytest.mark.parametrize("name", ["foo", "ccx", "rzz"])
def test_a_layer_that_nothing_could_match_is_refused(name: str) -> None:
    width = 3 if name == "ccx" else 2
    layer = QuantumCircuit(width)
    layer.append({"foo": Gate("foo", 2, []), "ccx": CCXGate(), "rzz": RZZGate(0.3)}[name], range(width))
    noise = LayerError(
        layer, list(range(width)), PauliLindbladError(PauliList(["X" * width]), np.array([0.1]))
    )
    circuit = QuantumCircuit(2)
    circuit.cx(0, 1)
    options = {"resilience": {"pec_mitigation": True, "layer_noise_model": [noise]}}
    with pytest.raises(JobError, match=rf"layer_noise_model\[0\].circuit: a layer can't hold {name} on"):
        run("estimator", {"pubs": [[circuit, "ZZ", None, 0.5]], "options": options})


def test_numbers_of_a_samplex_are_finite() -> None:
    boxed = QuantumCircuit(2, 2)
    with boxed.box([Twirl()]):
        boxed.rz(X, 0)
        boxed.sx(0)
        boxed.cx(0, 1)
    with boxed.box([Twirl()]):
        boxed.measure([0, 1], [0, 1])
    template, samplex = build(boxed)
    bad = CompressedTensorModel.from_numpy(np.array([np.nan])).model_dump()
    item = {
        "item_type": "samplex",
        "samplex": SamplexModel.from_samplex(samplex).model_dump(),
        "samplex_arguments": {"parameter_values": bad},
        "shape": [2],
        "chunk_size": "auto",
    }
    program = {
        "shots": 4,
        "circuits": CompressedQpyDataModel.from_python([template]).model_dump(),
        "items": [item],
    }
    with pytest.raises(JobError, match=r"samplex_arguments\.parameter_values: a value isn't finite"):
        run("executor", {"schema_version": "v2.0", "quantum_program": program, "options": {}})


def test_angles_of_many_factors_are_no_burden() -> None:
    angle = X + 1
    for _ in range(8):
        angle = angle * angle
    circuit = QuantumCircuit(1, 1)
    circuit.rz(angle, 0)
    circuit.compose(turned(angle), inplace=True)
    start = time.perf_counter()
    for options in ({}, TWIRLED):
        run("sampler", {"pubs": [[circuit, [[0.001], [0.002]], 64]], "options": options})
    for level in (0, 2):
        run("estimator", {"pubs": [[circuit, "Z", [[0.001]], 0.3]], "resilience_level": level})
    assert time.perf_counter() - start < 10


def test_an_operation_that_cannot_be_made_is_named() -> None:
    """A file may say that a variable has another type than what is stored in it."""
    circuit = QuantumCircuit(1, 1)
    variable = circuit.add_var("v", expr.lift(3, types.Uint(8)))
    circuit.store(variable, expr.bit_and(variable, variable))
    circuit.measure(0, 0)
    stream = io.BytesIO()
    qpy.dump(circuit, stream, version=17)
    raw = stream.getvalue()
    said = []
    for place in range(len(raw) - 4):
        if raw[place : place + 4] == (8).to_bytes(4, "big"):
            spoiled = raw[: place + 3] + b"\xff" + raw[place + 4 :]
            value = base64.b64encode(zlib.compress(spoiled)).decode()
            with pytest.raises(JobError) as caught:
                run("sampler", {"pubs": [[{"__type__": "QuantumCircuit", "__value__": value}, None, 4]]})
            said.append(caught.value.message)
    assert any("an explicit cast is required" in message for message in said)


def test_loops_whose_turns_count_and_whose_dont() -> None:
    """Of a loop's parameter, of an angle made of it alone, and in a circuit with parameters of its own."""
    turn = Parameter("i")
    circuit = QuantumCircuit(2, 2)
    with circuit.for_loop(range(3), turn):
        circuit.x(0)
    with circuit.for_loop([1, 2], turn):
        circuit.rx(turn * np.pi / 3, 1)
    circuit.rz(X, 0)
    circuit.measure([0, 1], [0, 1])
    result = run("sampler", {"pubs": [[circuit, [[0.1], [0.2]], 20]]}, simulator=True)
    assert result[0].data.c.get_counts() == {"11": 40}
    text = 'OPENQASM 3.0; include "stdgates.inc"; qubit[1] q; for int i in [0:2] { x q[0]; }'
    assert run("estimator", {"pubs": [[text, "Z", None, 0.1]]}, simulator=True)[0].data.evs < -0.9
    mixed = QuantumCircuit(1, 1)
    with mixed.for_loop([1, 2], turn):
        mixed.rx(turn * X, 0)
    mixed.measure(0, 0)
    with pytest.raises(JobError, match="mixes the parameter i of a for loop with others"):
        run("sampler", {"pubs": [[mixed, [[0.1]], 4]]}, simulator=True)


def test_a_simulator_takes_gates_that_a_circuit_defines() -> None:
    text = (
        'OPENQASM 3.0; include "stdgates.inc"; input float w; bit[2] c; gate half(a) x { rx(a / 2) x; } '
        "gate whole(a) x { half(a) x; half(a) x; } whole(w) $1; ctrl @ whole(w) $1, $2; "
        "c[0] = measure $1; if (c[0] == true) { whole(pi) $2; } c[1] = measure $2;"
    )
    pubs = [[text, [[np.pi]], 50]]
    assert run("sampler", {"pubs": pubs}, simulator=True)[0].data.c.get_counts() == {"01": 50}
    own = QuantumCircuit(2, 2)
    own.initialize([0, 0, 0, 1], [0, 1])
    own.unitary([[0, 1], [1, 0]], 0)
    own.measure([0, 1], [0, 1])
    assert run("sampler", {"pubs": [[own, None, 50]]}, simulator=True)[0].data.c.get_counts() == {"10": 50}
    with pytest.raises(JobError, match="initialize on qubits"):
        run("sampler", {"pubs": [[own, None, 50]]})


@pytest.mark.parametrize("level", [0, 1, 2])
def test_stretches_go_with_every_level(level: int) -> None:
    circuit = QuantumCircuit(2)
    circuit.x(0)
    circuit.delay(circuit.add_stretch("s"), 0)
    circuit.cx(0, 1)
    params = {"pubs": [[circuit, "ZZ", None, 0.1]], "resilience_level": level}
    assert abs(run("estimator", params, simulator=True)[0].data.evs - 1) < 0.1


def test_gates_within_gates_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expanding, "_MOST_INSTRUCTIONS", 200)
    text = 'OPENQASM 3.0; include "stdgates.inc"; gate g0 a { x a; } '
    text += "".join(f"gate g{n} a {{ g{n - 1} a; g{n - 1} a; }} " for n in range(1, 8)) + "bit[1] c; g7 $0; "
    with pytest.raises(JobError, match="come to more than 200 instructions"):
        run("sampler", {"pubs": [[text + "c[0] = measure $0;", None, 4]]}, simulator=True)
