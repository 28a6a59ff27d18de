"""Payloads for the benchmarks of programs: params as the client encodes them, small and large.

Make them in a process of their own (`benchmarks.programs.in_a_worker`): what transpiles leaves threads behind
that no child of its process would have.
"""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
from qiskit import QuantumCircuit, generate_preset_pass_manager, qpy
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import SparsePauliOp
from qiskit_ibm_runtime import RuntimeEncoder

from ketline.qpus.snapshots import snapshot

MEGABYTES = 50
DEVICE = snapshot("fez", "ket_fez")
TWIRL = {"twirling": {"enable_gates": True, "enable_measure": True}}
DECOUPLE = {"dynamical_decoupling": {"enable": True, "sequence_type": "XY4"}}


def compiled(circuit: QuantumCircuit) -> QuantumCircuit:
    """A circuit in the device's instruction set."""
    return generate_preset_pass_manager(1, target=DEVICE.target, seed_transpiler=7).run(circuit)


def bell(turn: float | Parameter, *, measured: bool) -> QuantumCircuit:
    """A Bell circuit after a turn that tells it from others."""
    circuit = QuantumCircuit(2, 2 if measured else 0)
    circuit.ry(turn, 0)
    circuit.h(0)
    circuit.cx(0, 1)
    if measured:
        circuit.measure([0, 1], [0, 1])
    return compiled(circuit)


def params(pubs: list[Any], options: dict[str, Any], level: int | None = None) -> bytes:
    """Params of the legacy primitives, as the client encodes them."""
    tree: dict[str, Any] = {"pubs": pubs, "options": options, "version": 2, "support_qiskit": True}
    if level is not None:
        tree["resilience_level"] = level
    return json.dumps(tree, cls=RuntimeEncoder).encode()


def chain(circuit: QuantumCircuit, width: int) -> dict[str, float]:
    """An observable along a chain of qubits, in the circuit's layout."""
    terms = [("ZZ", [i, i + 1], 1.0) for i in range(width - 1)] + [("X", [i], 0.5) for i in range(width)]
    word = SparsePauliOp.from_sparse_list(terms, width).apply_layout(circuit.layout)
    return {str(label): float(value.real) for label, value in word.to_list()}


def sampler_job(turn: float, options: dict[str, Any]) -> bytes:
    """One Bell circuit."""
    return params([[bell(turn, measured=True), np.zeros(0), 1024]], options)


def estimator_job(turn: float, level: int) -> bytes:
    """One Bell circuit and an observable of two bases."""
    circuit = bell(turn, measured=False)
    return params([[circuit, chain(circuit, 2), np.zeros(0), None]], {}, level)


def ansatz_job(level: int, number: int) -> bytes:
    """An ansatz of five qubits at one point."""
    ansatz = efficient_su2(5, reps=1, entanglement="linear", name=f"ansatz{number}")
    circuit = compiled(ansatz)
    values = np.random.default_rng(number).uniform(0, 3, circuit.num_parameters)
    return params([[circuit, chain(circuit, 5), values, None]], {}, level)


def executor_job(turn: float, values: np.ndarray[Any, Any] | None = None) -> bytes:
    """A circuit item by hand: a Bell circuit, or a circuit of many angles with values for them."""
    circuit = bell(turn, measured=True) if values is None else angled()
    values = np.zeros(0) if values is None else values
    stream = io.BytesIO()
    qpy.dump([circuit], stream)
    raw = stream.getvalue()
    item = {
        "item_type": "circuit",
        "circuit_arguments": {
            "data": base64.b64encode(zlib.compress(values.tobytes())).decode(),
            "shape": list(values.shape),
            "dtype": "f64",
        },
        "shape": [],
        "chunk_size": "auto",
    }
    packed = base64.b64encode(zlib.compress(raw)).decode()
    program = {
        "shots": 10,
        "circuits": {"b64_data": packed, "qpy_version": raw[6], "num_programs": 1},
        "items": [item],
        "semantic_role": None,
        "meas_level": "classified",
        "passthrough_data": None,
    }
    return json.dumps({"schema_version": "v2.0", "quantum_program": program, "options": {}}).encode()


def small_job(program: str) -> bytes:
    """A small job of a program."""
    return {
        "sampler": partial(sampler_job, 0.1, {}),
        "estimator": partial(estimator_job, 0.1, 1),
        "executor": partial(executor_job, 0.1),
    }[program]()


def small_jobs() -> dict[str, tuple[str, list[bytes]]]:
    """One small job of every kind, several times with circuits of its own: its program and payloads."""
    turns = np.linspace(0.1, 1.0, 12).tolist()
    return {
        "sampler": ("sampler", [sampler_job(turn, {}) for turn in turns]),
        "sampler, twirled": ("sampler", [sampler_job(turn, TWIRL) for turn in turns]),
        "sampler, decoupled": ("sampler", [sampler_job(turn, DECOUPLE) for turn in turns]),
        "sampler, twirled and decoupled": (
            "sampler", [sampler_job(turn, TWIRL | DECOUPLE) for turn in turns],
        ),
        **{
            f"estimator at level {level}": ("estimator", [estimator_job(turn, level) for turn in turns])
            for level in (0, 1, 2)
        },
        "executor": ("executor", [executor_job(turn) for turn in turns]),
    }  # fmt: skip


def ansatz_jobs(level: int) -> list[bytes]:
    """Ansatzes at one point each, no two alike."""
    return [ansatz_job(level, number) for number in range(8)]


def angled() -> QuantumCircuit:
    """A circuit of fifty angles."""
    circuit, angles = QuantumCircuit(5, 5), ParameterVector("t", 50)
    for k in range(50):
        circuit.rz(angles[k], k % 5)
        circuit.sx(k % 5)
    circuit.measure(range(5), range(5))
    return circuit


def angles() -> np.ndarray[Any, Any]:
    """Values for `angled`, 50 MB of them or as many as are told."""
    return np.random.default_rng(1).uniform(0, 6, (96_000 * MEGABYTES // 49, 50))


def long_circuits(count: int) -> Iterator[QuantumCircuit]:
    """Circuits of 800 gates, each with angles of its own."""
    rng = np.random.default_rng(2)
    for _ in range(count):
        circuit = QuantumCircuit(5, 5)
        for k in range(400):
            circuit.rz(float(rng.uniform(0, 6)), k % 5)
            circuit.sx(k % 5)
        circuit.measure(range(5), range(5))
        yield circuit


def bells(count: int, *, measured: bool) -> Iterator[QuantumCircuit]:
    """Bell circuits on the device's 156 qubits, no two alike."""
    turn = Parameter("turn")
    circuit = bell(turn, measured=measured)
    for value in np.linspace(0.1, 3.0, count).tolist():
        yield circuit.assign_parameters({turn: value})


def sampler_circuits(circuits: Iterable[QuantumCircuit], options: dict[str, Any] | None = None) -> bytes:
    """A sampler job of many circuits."""
    return params([[circuit, np.zeros(0), 1] for circuit in circuits], options or {})


def estimator_circuits(circuits: Iterable[QuantumCircuit]) -> bytes:
    """An estimator job of many circuits, each with an observable of two bases."""
    return params([[circuit, chain(circuit, 2), None, 0.3] for circuit in circuits], {}, 1)


def executor_circuits(circuits: list[QuantumCircuit]) -> bytes:
    """An executor job of many circuits, which are one QPY file together."""
    tree = json.loads(executor_job(0.1))
    stream = io.BytesIO()
    qpy.dump(circuits, stream)
    holder = tree["quantum_program"]["circuits"]
    holder |= {
        "b64_data": base64.b64encode(zlib.compress(stream.getvalue())).decode(),
        "num_programs": len(circuits),
    }
    tree["quantum_program"]["items"] *= len(circuits)
    return json.dumps(tree).encode()


def sampler_angles() -> bytes:
    """One circuit and many values."""
    return params([[angled(), angles(), 1]], {})


def estimator_angles() -> bytes:
    """The same without measurements."""
    bare = angled().remove_final_measurements(inplace=False)
    return params([[bare, {"IIIZZ": 1.0}, angles(), 0.5]], {}, 0)


def large_payloads() -> dict[str, tuple[str, Callable[[], bytes]]]:
    """Large payloads by name, each with its program and how it is made."""
    return {
        "sampler, angles": ("sampler", sampler_angles),
        "estimator, angles": ("estimator", estimator_angles),
        "executor, angles": ("executor", lambda: executor_job(0.0, angles())),
        "sampler, 500 circuits of 800 gates": (
            "sampler", lambda: sampler_circuits(long_circuits(500)),
        ),
        "sampler, 3,500 circuits of 800 gates": (
            "sampler", lambda: sampler_circuits(long_circuits(3500)),
        ),
        "executor, 1,000 circuits of 800 gates": (
            "executor", lambda: executor_circuits(list(long_circuits(1000))),
        ),
        "sampler, 6,000 Bell circuits of 156 qubits": (
            "sampler", lambda: sampler_circuits(bells(6000, measured=True)),
        ),
        "sampler, twirled, 4,000 Bell circuits of 156 qubits": (
            "sampler", lambda: sampler_circuits(bells(4000, measured=True), TWIRL),
        ),
        "estimator at level 1, 5,000 Bell circuits of 156 qubits": (
            "estimator", lambda: estimator_circuits(bells(5000, measured=False)),
        ),
    }  # fmt: skip
