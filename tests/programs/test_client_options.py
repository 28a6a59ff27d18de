"""Every option of the installed client's executor and noise learner, from its own models to what is run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from lab import backend, context, posted
from pydantic import BaseModel
from qiskit import QuantumCircuit
from qiskit.quantum_info import PauliLindbladMap
from qiskit_ibm_runtime import Executor
from qiskit_ibm_runtime.executor_noise_learner import NoiseLearnerV3 as ExecutorNoiseLearner
from qiskit_ibm_runtime.noise_learner_v3 import NoiseLearnerV3
from qiskit_ibm_runtime.options_models import ExecutorOptions, NoiseLearnerV3Options
from qiskit_ibm_runtime.quantum_program import QuantumProgram
from samplomatic import Twirl

from ketline.programs import state as states
from ketline.programs.base import Prepared, open_params, program
from ketline.units.errors import JobError

LOCAL = {"simulator.angle_decimals", "simulator.seed_simulator", "simulator.warn_absent"}
"""What only the client's local mode heeds: it isn't posted."""
WHOLE = {"simulator.layer_noise_model"}
OF_THE_JOB = {
    "environment.log_level", "environment.job_tags", "environment.private", "environment.max_execution_time",
    "environment.image", "max_execution_time",
}  # fmt: skip
"""What the client posts beside the params, or with other requests."""
EXECUTION: dict[str, Any] = {
    "execution.init_qubits": False,
    "execution.rep_delay": 3e-4,
    "execution.scheduler_timing": True,
    "execution.stretch_values": True,
}
CHECKS = {
    f"bit_flip_checks.{place}.{name}": value
    for place in ("pre_circuit", "post_circuit")
    for name, value in (("enable", True), ("x_pulse_type", "xslow"), ("strategy", "edge"))
}
VALUES: dict[str, dict[str, Any]] = {
    "executor": {
        **EXECUTION,
        "experimental": {"execution": {"allow_approximation": False}},
    },
    "learner": {
        **EXECUTION,
        **CHECKS,
        "shots_per_randomization": 5,
        "num_randomizations": 3,
        "layer_pair_depths": [0, 3],
        "experimental": {"execution": {"allow_approximation": False}},
    },
}
NOT_POSTED_BY_LEARNER = {"execution.scheduler_timing", "execution.stretch_values", "experimental"}
"""The learner posts to a schema that has no such options, and says so nowhere."""


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = [
            kind
            for kind in (field.annotation, *get_args(field.annotation))
            if isinstance(kind, type) and issubclass(kind, BaseModel)
        ]
        if inner:
            yield from leaves(inner[0], f"{prefix}{name}.")
        else:
            yield prefix + name


def changed(options: Any, path: str, value: Any) -> Any:
    *places, name = path.split(".")
    holder = options
    for place in places:
        holder = getattr(holder, place)
    setattr(holder, name, value)
    return options


def boxes(name: str = "manila") -> QuantumCircuit:
    circuit = QuantumCircuit(backend(name).num_qubits)
    with circuit.box([Twirl()]):
        if name == "manila":
            circuit.cx(0, 1)
        else:
            circuit.cz(0, 1)
    return circuit


def quantum_program() -> QuantumProgram:
    circuit = QuantumCircuit(5, 1)
    circuit.x(0)
    circuit.measure(0, 0)
    made = QuantumProgram(shots=10)
    made.append_circuit_item(circuit)
    return made


def executor(options: Any, name: str = "manila") -> tuple[str, bytes]:
    return posted(lambda machine: Executor(machine, options), lambda e: e.run(quantum_program()), name)


def learner(options: Any, name: str = "manila") -> tuple[str, bytes]:
    boxed = boxes(name)
    return posted(lambda machine: NoiseLearnerV3(machine, options), lambda e: e.run(list(boxed.data)), name)


POSTS = {"executor": (ExecutorOptions, executor), "learner": (NoiseLearnerV3Options, learner)}


def small(kind: str) -> Any:
    options = POSTS[kind][0]()
    if kind == "learner":
        for name, value in (("num_randomizations", 2), ("layer_pair_depths", [0, 1])):
            changed(options, name, value)
    return options


def options_of(raw: bytes) -> Any:
    return json.loads(raw)["options"]


def prepared(program_id: str, raw: bytes, name: str = "manila") -> str:
    where = context(name)
    step = program(program_id).prepare(open_params(raw, where.limits), where)
    assert isinstance(step, Prepared)
    unit = step.unit
    facts = [
        [(len(item.parameter_values), item.shots, dict(item.circuit.count_ops())) for item in unit.items],
        [getattr(unit, field) for field in ("init_qubits", "rep_delay_seconds", "scheduler_timing")],
        [getattr(unit, field) for field in ("stretch_values", "allow_approximation", "simulator", "seed")],
        states.unpack(step.state).get("checks"),
    ]
    return repr(facts)


@pytest.mark.parametrize("kind", POSTS)
def test_no_option_of_the_client_is_missing_here(kind: str) -> None:
    assert set(leaves(POSTS[kind][0])) == {*VALUES[kind], *LOCAL, *WHOLE, *OF_THE_JOB}


@pytest.mark.parametrize(("kind", "path"), [(kind, path) for kind, table in VALUES.items() for path in table])
def test_an_option_that_is_posted_changes_what_is_run_or_is_refused_by_name(kind: str, path: str) -> None:
    _, post = POSTS[kind]
    device = "fez" if path in CHECKS else "manila"
    base = small(kind)
    if path in CHECKS:
        place = path.rpartition(".")[0]
        changed(changed(base, f"{place}.enable", not path.endswith("enable")), f"{place}.x_pulse_type", "rx")
    program_id, before = post(base, device)
    _, after = post(changed(base, path, VALUES[kind][path]), device)
    if kind == "learner" and path in NOT_POSTED_BY_LEARNER:
        assert options_of(before) == options_of(after)
        return
    assert options_of(before) != options_of(after)
    plain = prepared(program_id, before, device)
    if path.endswith("x_pulse_type"):
        with pytest.raises(JobError, match=r"bit_flip_checks.*xslow"):
            prepared(program_id, after, device)
    else:
        assert prepared(program_id, after, device) != plain


@pytest.mark.parametrize("path", sorted(LOCAL | WHOLE))
@pytest.mark.parametrize("kind", POSTS)
def test_options_of_the_local_mode_are_not_posted(kind: str, path: str) -> None:
    values = {
        "simulator.layer_noise_model": [(boxes().data[0], PauliLindbladMap.from_list([("XX", 0.1)]))],
        "simulator.warn_absent": False,
    }
    _, post = POSTS[kind]
    _, before = post(small(kind))
    _, after = post(changed(small(kind), path, values.get(path, 3)))
    assert options_of(before) == options_of(after)


def test_the_learner_through_the_executor_posts_its_execution_options() -> None:
    options = small("learner")
    for path, value in EXECUTION.items():
        changed(options, path, value)
    program_id, raw = posted(
        lambda machine: ExecutorNoiseLearner(machine, options), lambda e: e.run(list(boxes().data))
    )
    assert program_id == "executor"
    assert "[False, 0.0003, True]" in prepared(program_id, raw)
