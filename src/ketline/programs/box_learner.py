"""The noise learner of boxes, versions v0.1 to v0.3 (``rest.md`` E.5).

Boxes of gates are learned by the Pauli-Lindblad protocol, each by itself; boxes of measurements by TREX.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from ketline.programs import state as states
from ketline.programs.base import Prepared, Result
from ketline.programs.check import check_isa, check_rep_delay, survey
from ketline.programs.failures import bad_option, rejected, unreadable
from ketline.programs.mitigation.learning import LearningOptions, ProtocolPlan, fitted, plan_protocol
from ketline.programs.mitigation.trex import ReadoutPlan, prepare_readout, read
from ketline.programs.mitigation.twirling import Sizes
from ketline.programs.options import validated
from ketline.programs.rounds import Execution, unit_of
from ketline.programs.wire.circuits import guarded, load_qpy
from ketline.programs.wire.fields import known_keys
from ketline.programs.wire.program import write_tensor
from ketline.programs.wire.unpack import Budget

if TYPE_CHECKING:
    from qiskit.circuit import CircuitInstruction, QuantumCircuit

    from ketline.programs.base import Params, ProgramContext
    from ketline.units.work import Outcome, WorkItem

_VERSIONS = {"v0.1": 16, "v0.2": 17, "v0.3": 17}
"""The newest QPY of each version of the schema."""


class BoxLearner:
    """Learns boxes one by one."""

    def prepare(self, params: Params, context: ProgramContext) -> Prepared:
        """Make the circuits that learn every box.

        Raises:
            JobError: the payload can't be read, or a box can't be learned.
        """
        tree = known_keys(params.tree, {"schema_version", "instructions", "options", "version"}, "params")
        version = tree["schema_version"]
        if version not in _VERSIONS:
            raise unreadable(
                "schema_version", f"{version!r} isn't supported; supported are {', '.join(_VERSIONS)}.",
                "Update the client.",
            )  # fmt: skip
        if tree.get("version", 3) != 3:
            raise unreadable("version", f"{tree['version']!r} isn't supported; 3 is.")
        models = import_module(
            f"ibm_quantum_schemas.noise_learner_v3.version_{version[1:].replace('.', '_')}"
        )
        options = validated(models.OptionsModel, tree.get("options") or {})
        _refuse_checks(options)
        learning = _learning(options)
        circuit = _read(tree.get("instructions"), version, context)
        rng = np.random.default_rng()
        items: list[WorkItem] = []
        boxes = []
        for number, instruction in enumerate(circuit.data):
            boxes.append(_plan_box(instruction, f"instructions[{number}]", learning, context, rng, items))
        execution = Execution(
            init_qubits=getattr(options, "init_qubits", True),
            rep_delay_seconds=check_rep_delay(getattr(options, "rep_delay", None), context, "rep_delay"),
        )
        state = {"version": version, "depths": list(learning.layer_pair_depths), "boxes": boxes}
        return Prepared(unit_of(items, execution, context), states.pack(state))

    def finalize(self, kept: dict[str, Any], outcome: Outcome) -> Result:
        """Fit every box and write its generators and rates."""
        data = [
            _trex(box, outcome, kept) if box["protocol"] == "trex" else _lindblad(box, outcome, kept)
            for box in kept["boxes"]
        ]
        return Result(orjson.dumps({"schema_version": kept["version"], "data": data}))


def _refuse_checks(options: Any) -> None:
    """Checks by pulses that the emulated devices don't have."""
    checks = getattr(options, "bit_flip_checks", None)
    asked = {
        "post_selection": options.post_selection.enable if hasattr(options, "post_selection") else False,
        "bit_flip_checks.pre_circuit": checks is not None and checks.pre_circuit.enable,
        "bit_flip_checks.post_circuit": checks is not None and checks.post_circuit.enable,
    }
    for name, enabled in asked.items():
        if enabled:
            raise bad_option(f"{name}.enable", "checks of bit flips aren't supported.", "Turn it off.")


def _learning(options: Any) -> LearningOptions:
    from ketline.programs.noise_learner import learning_options

    return learning_options(
        None, options.shots_per_randomization, options.num_randomizations, options.layer_pair_depths
    )


def _read(value: object, version: str, context: ProgramContext) -> QuantumCircuit:
    field = "instructions"
    holder = known_keys(value, {"circuit_b64", "qpy_version"}, field)
    raw = Budget(context.limits.max_decompressed_bytes).plain(holder.get("circuit_b64"), field)
    (circuit,) = load_qpy(raw, field, count=1)
    if holder.get("qpy_version") != raw[6] or raw[6] > _VERSIONS[version]:
        raise unreadable(field, f"QPY {raw[6]} doesn't fit the announced one, or schema {version}.")
    if not circuit.data:
        raise unreadable(field, "there are none.", "Give at least one boxed instruction.")
    return circuit


def _plan_box(
    instruction: CircuitInstruction,
    field: str,
    learning: LearningOptions,
    context: ProgramContext,
    rng: np.random.Generator,
    items: list[WorkItem],
) -> dict[str, Any]:
    from qiskit.circuit import QuantumRegister
    from qiskit_ibm_runtime.noise_learner_v3.find_learning_protocol import find_learning_protocol

    if instruction.operation.name != "box":
        raise rejected(field, f"a box is expected, not {instruction.operation.name}.", "Box the instruction.")
    index = {qubit: i for i, qubit in enumerate(QuantumRegister(context.device.num_qubits, "q"))}
    if not all(qubit in index for qubit in instruction.qubits):
        raise rejected(
            field, "acts on qubits that aren't the device's.", "Use the register 'q' of the device's size."
        )
    qubits = [index[qubit] for qubit in instruction.qubits]
    body = instruction.operation.body
    check_isa(survey(_placed(body, qubits, context), field), context, field)
    protocol = guarded(lambda: find_learning_protocol(instruction), field, "a box that can be learned")
    if protocol is None:
        raise rejected(
            field, "no protocol can learn this box.", "Box one layer of Clifford gates, or measurements."
        )
    box: dict[str, Any] = {"qubits": qubits, "protocol": protocol.name.lower()}
    if box["protocol"] == "trex":
        item, plan = prepare_readout(
            qubits,
            context.device.num_qubits,
            Sizes(learning.num_randomizations, learning.shots_per_randomization),
            rng,
        )
        box |= {"item": len(items), "plan": plan.to_tree()}
        items.append(item)
        return box
    protocol_plan, own = plan_protocol([instruction], context.device.target, learning, rng)
    box |= {"item": len(items), "description": protocol_plan.description, "items": protocol_plan.items}
    box["protocol"] = "lindblad"
    items.extend(own)
    return box


def _placed(body: QuantumCircuit, qubits: list[int], context: ProgramContext) -> QuantumCircuit:
    from qiskit.circuit import QuantumCircuit

    placed = QuantumCircuit(context.device.num_qubits, body.num_clbits)
    for inside in body.data:
        places = [qubits[body.find_bit(qubit).index] for qubit in inside.qubits]
        placed.append(inside.operation, places, [body.find_bit(clbit).index for clbit in inside.clbits])
    return placed


def _lindblad(box: dict[str, Any], outcome: Outcome, kept: dict[str, Any]) -> dict[str, Any]:
    plan = ProtocolPlan(box["item"], box["description"], box["items"])
    (found,) = fitted(plan, outcome.items)
    places = [box["qubits"].index(qubit) for qubit in sorted(box["qubits"])]
    generators = [
        [[letters, [places[i] for i in indices]]] for letters, indices, _ in found.error.to_sparse_list()
    ]
    selection: dict[str, Any] = {"fraction_kept": {str(depth): 1.0 for depth in kept["depths"]}}
    if kept["version"] != "v0.1":
        selection["success_rates"] = {str(depth): {} for depth in kept["depths"]}
    return _result(box, generators, np.asarray(found.error.rates), found.rates_std, "lindblad", selection)


def _trex(box: dict[str, Any], outcome: Outcome, kept: dict[str, Any]) -> dict[str, Any]:
    """Bit flips with probability p before a readout: a Pauli-Lindblad rate of ``-ln(1 - 2 p) / 2`` of X."""
    readout = read(ReadoutPlan.from_tree(box["plan"]), outcome.items[box["item"]])
    count = len(readout.qubits)
    means = readout.factors(readout.qubits, np.eye(count, dtype=np.uint8))
    kept_fidelity = np.clip(means.mean(axis=0), 1e-9, None)
    shots = means.shape[0] * readout.counts.shots
    spread = np.sqrt(np.maximum(1.0 - kept_fidelity**2, 0.0) / shots)
    if len(means) > 1:
        spread = means.std(axis=0, ddof=1) / np.sqrt(len(means))
    rates = np.maximum(-np.log(kept_fidelity) / 2, 0.0)
    generators = [[["X", [box["qubits"].index(int(qubit))]]] for qubit in readout.qubits]
    selection: dict[str, Any] = {"fraction_kept": 1.0}
    if kept["version"] != "v0.1":
        selection["success_rates"] = {}
    return _result(box, generators, rates, spread / (2 * kept_fidelity), "trex", selection)


def _result(
    box: dict[str, Any],
    generators: list[Any],
    rates: np.ndarray[Any, Any],
    spread: np.ndarray[Any, Any],
    protocol: str,
    selection: dict[str, Any],
) -> dict[str, Any]:
    return {
        "generators_sparse": generators,
        "num_qubits": len(box["qubits"]),
        "rates": write_tensor(np.asarray(rates, dtype=np.float64), compressed=False),
        "rates_std": write_tensor(np.asarray(spread, dtype=np.float64), compressed=False),
        "metadata": {"learning_protocol": protocol, "post_selection": selection},
    }
