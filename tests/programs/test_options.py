"""Every option that the published models know changes what is run or told, or is refused by name."""

from __future__ import annotations

import copy
import json
import types
from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin

import pytest
from ibm_quantum_schemas.estimator.version_0_1.options import OptionsModel as EstimatorModel
from ibm_quantum_schemas.noise_learner_v2.version_0_1.options import OptionsModel as LearnerModel
from ibm_quantum_schemas.sampler.version_0_1.options import OptionsModel as SamplerModel
from lab import context, decoded, run_unit
from pydantic import BaseModel
from qiskit import QuantumCircuit
from qiskit.quantum_info import PauliList
from qiskit_ibm_runtime import RuntimeEncoder
from qiskit_ibm_runtime.results.noise_learner import LayerError, PauliLindbladError

from ketline.programs import state as states
from ketline.programs.base import open_params, program
from ketline.units.errors import JobError

NOISE = {"__type__": "NoiseModel", "__value__": {"errors": []}}
DECOUPLE = {"dynamical_decoupling": {"enable": True}}
UNEVEN = {"dynamical_decoupling": {"enable": True, "sequence_type": "XY4"}}
GATES = {"twirling": {"enable_gates": True}}
ZNE = {"resilience": {"zne_mitigation": True}}


def layer(gates: int = 1) -> list[LayerError]:
    circuit = QuantumCircuit(2)
    circuit.cx(0, 1)
    return [LayerError(circuit, [0, 1], PauliLindbladError(PauliList(["XI", "ZZ"]), [0.1 * gates, 0.05]))]


PEC = {
    "resilience": {"pec_mitigation": True, "layer_noise_model": layer()},
    "twirling": {"strategy": "active"},
}
SMALL = {"layer_pair_depths": [0, 1], "num_randomizations": 2}
LEARN = {"resilience": {"pec_mitigation": True, "layer_noise_learning": SMALL}}

COMMON: list[tuple[str, Any, dict[str, Any]]] = [
    ("dynamical_decoupling.enable", True, {}),
    ("dynamical_decoupling.sequence_type", "XY4", DECOUPLE),
    ("dynamical_decoupling.extra_slack_distribution", "edges", UNEVEN),
    ("dynamical_decoupling.scheduling_method", "asap", DECOUPLE),
    ("dynamical_decoupling.skip_reset_qubits", True, DECOUPLE),
    ("execution.init_qubits", False, {}),
    ("execution.rep_delay", 3e-4, {}),
    ("twirling.enable_gates", True, {}),
    ("twirling.num_randomizations", 5, GATES),
    ("twirling.shots_per_randomization", 33, GATES),
    ("twirling.strategy", "active", GATES),
    ("simulator.noise_model", NOISE, {}),
    ("simulator.seed_simulator", 12, {}),
    ("simulator.coupling_map", [[0, 1]], {}),
    ("simulator.basis_gates", ["cx"], {}),
]
TABLES: dict[str, list[tuple[str, Any, dict[str, Any]]]] = {
    "sampler": [
        *COMMON,
        ("default_shots", 100, {}),
        ("execution.meas_type", "kerneled", {}),
        ("twirling.enable_measure", True, {}),
        ("experimental", {"execution": {"scheduler_timing": True}}, {}),
    ],
    "estimator": [
        *COMMON,
        ("default_precision", 0.1, {}),
        ("default_shots", 100, {}),
        ("seed_estimator", 4, {}),
        ("twirling.enable_measure", True, {"resilience": {"measure_mitigation": False}}),
        ("experimental", {"x": 1}, {}),
        ("resilience.measure_mitigation", True, {}),
        (
            "resilience.measure_noise_learning.num_randomizations",
            9,
            {"resilience": {"measure_mitigation": True}},
        ),
        (
            "resilience.measure_noise_learning.shots_per_randomization",
            9,
            {"resilience": {"measure_mitigation": True}},
        ),
        ("resilience.zne_mitigation", True, {}),
        (
            "resilience.zne.amplifier",
            "gate_folding_front",
            {"resilience": {"zne_mitigation": True, "zne": {"noise_factors": [1, 1.4, 2]}}},
        ),
        ("resilience.zne.noise_factors", [1, 2, 4], ZNE),
        ("resilience.zne.extrapolator", "linear", ZNE),
        ("resilience.zne.extrapolated_noise_factors", [0, 2], ZNE),
        ("resilience.pec_mitigation", True, {"resilience": {"layer_noise_model": layer()}}),
        ("resilience.pec.max_overhead", 1.5, PEC),
        ("resilience.pec.noise_gain", 0.9, PEC),
        ("resilience.layer_noise_learning.max_layers_to_learn", 0, LEARN),
        ("resilience.layer_noise_learning.shots_per_randomization", 16, LEARN),
        ("resilience.layer_noise_learning.num_randomizations", 4, LEARN),
        ("resilience.layer_noise_learning.layer_pair_depths", [0, 3], LEARN),
        ("resilience.layer_noise_model", layer(3), PEC),
    ],
    "noise-learner": [
        ("max_layers_to_learn", 1, SMALL),
        ("shots_per_randomization", 16, SMALL),
        ("num_randomizations", 4, SMALL),
        ("layer_pair_depths", [0, 3], SMALL),
        ("twirling_strategy", "active-circuit", SMALL),
        ("support_qiskit", False, SMALL),
        ("experimental", {"x": 1}, SMALL),
        ("simulator.noise_model", NOISE, SMALL),
        ("simulator.seed_simulator", 12, SMALL),
        ("simulator.coupling_map", [[0, 1]], SMALL),
        ("simulator.basis_gates", ["cx"], SMALL),
    ],
}
TABLES["sampler"].append(("experimental", {"execution": {"allow_approximation": False}}, {}))
TABLES["estimator"].append(("experimental", {"execution": {"allow_approximation": False}}, {}))
REFUSED = {
    ("estimator", "experimental"), ("noise-learner", "experimental"), ("noise-learner", "support_qiskit"),
}  # fmt: skip
MODELS: dict[str, type[BaseModel]] = {
    "sampler": SamplerModel, "estimator": EstimatorModel, "noise-learner": LearnerModel,
}  # fmt: skip


def circuit() -> QuantumCircuit:
    """Two layers on manila; qubit 2 waits before anything was done to it, qubit 0 afterwards."""
    made = QuantumCircuit(5, 3)
    made.x(0)
    for _ in range(3):
        made.cx(0, 1)
        made.sx(0)
    made.cx(1, 2)
    made.sx(1)
    made.cx(0, 1)
    return made


def payload(program_id: str, options: dict[str, Any]) -> bytes:
    body = circuit()
    if program_id == "sampler":
        body.measure([0, 1, 2], [0, 1, 2])
        params: dict[str, Any] = {"pubs": [[body]]}
    elif program_id == "estimator":
        params = {"pubs": [[body, "IIXZI"]], "resilience_level": 0}
    else:
        params = {"circuits": [body]}
    return json.dumps({**params, "options": options}, cls=RuntimeEncoder).encode()


def with_option(base: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    made = copy.deepcopy(base)
    inner = made
    *outer, last = path.split(".")
    for name in outer:
        inner = inner.setdefault(name, {})
    inner[last] = value
    return made


def outcome(program_id: str, options: dict[str, Any]) -> Any:
    """Everything that an option can change, except for what merely repeats the options."""
    seeds = {"simulator": {"seed_simulator": 1}} if program_id != "estimator" else {"seed_estimator": 1}
    merged = {**seeds, **options}
    if "simulator" in options and "simulator" in seeds:
        merged["simulator"] = {**seeds["simulator"], **options["simulator"]}
    if program_id == "estimator" and "seed_simulator" in options.get("simulator", {}):
        merged.pop("seed_estimator", None)
    step = program(program_id).prepare(open_params(payload(program_id, merged), context().limits), context())
    unit = step.unit
    kept = states.unpack(step.state)
    extrapolation = None
    if "plan" in kept and "pubs" in kept["plan"]:
        extrapolation = [pub["extrapolation"] for pub in kept["plan"]["pubs"]]
    return (
        [
            getattr(unit, name)
            for name in ("meas_level", "init_qubits", "rep_delay_seconds", "seed", "idle_noise")
        ],
        [unit.allow_approximation, unit.scheduler_timing, unit.stretch_values, json.dumps(unit.simulator)],
        [
            (item.shots, item.parameter_values.shape, item.parameter_values.round(9).tobytes())
            for item in unit.items
        ],
        [
            [
                (i.operation.name, [str(p) for p in i.operation.params if not hasattr(p, "uuid")], i.qubits)
                for i in item.circuit.data
            ]
            for item in unit.items
        ],
        extrapolation,
    )


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = _inner(field.annotation)
        if inner is None:
            yield prefix + name
        else:
            yield from fields(inner, f"{prefix}{name}.")


def _inner(annotation: Any) -> type[BaseModel] | None:
    if get_origin(annotation) in (Union, types.UnionType):
        found = [one for one in map(_inner, get_args(annotation)) if one is not None]
        return found[0] if len(found) == 1 else None
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return None if any(field.alias for field in annotation.model_fields.values()) else annotation
    return None


@pytest.mark.parametrize("program_id", TABLES)
def test_no_option_is_missing_here(program_id: str) -> None:
    assert {path for path, _, _ in TABLES[program_id]} == set(fields(MODELS[program_id]))


@pytest.mark.parametrize(
    ("program_id", "path", "value", "base"),
    [(name, *row) for name, table in TABLES.items() for row in table],
    ids=[f"{name}-{row[0]}" for name, table in TABLES.items() for row in table],
)
def test_an_option_changes_something_or_is_refused(
    program_id: str, path: str, value: Any, base: dict[str, Any]
) -> None:
    before = outcome(program_id, base)
    assert repr(before) == repr(outcome(program_id, base)), "the comparison below must mean something"
    if (program_id, path) in REFUSED and value != {"execution": {"allow_approximation": False}}:
        with pytest.raises(JobError, match=path):
            outcome(program_id, with_option(base, path, value))
    else:
        assert repr(before) != repr(outcome(program_id, with_option(base, path, value)))


@pytest.mark.parametrize("program_id", ["sampler", "estimator"])
def test_approximations_are_told(program_id: str) -> None:
    made, where = program(program_id), context()
    step = made.prepare(open_params(payload(program_id, {}), where.limits), where)
    ran = run_unit(step.unit)
    assert "approximations" not in decoded(made.finalize(step.state, ran, where).body).metadata
    ran.approximations = ["item 0: relaxation as Paulis"]
    told = decoded(made.finalize(step.state, ran, where).body).metadata["approximations"]
    assert told == ["item 0: relaxation as Paulis"]
