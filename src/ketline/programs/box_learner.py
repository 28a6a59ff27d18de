"""The noise learner of boxes, versions v0.1 to v0.3 (``rest.md`` E.5).

Boxes of gates are learned by the Pauli-Lindblad protocol, each by itself; boxes of measurements by TREX.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from numpy.typing import NDArray

from ketline.programs import state as states
from ketline.programs.base import Prepared, Result
from ketline.programs.check import check_isa, check_rep_delay, survey
from ketline.programs.failures import rejected, unreadable
from ketline.programs.flip_checks import Checks, kept_shots, read_checks
from ketline.programs.items import bits_of, registers
from ketline.programs.learning import learning_options
from ketline.programs.mitigation.learning import LearningOptions, ProtocolPlan, fitted, plan_protocol
from ketline.programs.mitigation.trex import ReadoutPlan, prepare_readout
from ketline.programs.mitigation.twirling import Sizes
from ketline.programs.options import validated
from ketline.programs.rounds import Execution, unit_of
from ketline.programs.wire.fields import known_keys
from ketline.programs.wire.guard import guarded
from ketline.programs.wire.program import write_tensor
from ketline.programs.wire.qpy_files import load_qpy
from ketline.programs.wire.unpack import Budget

if TYPE_CHECKING:
    from qiskit.circuit import CircuitInstruction, QuantumCircuit

    from ketline.programs.base import Params, ProgramContext
    from ketline.units.work import Outcome, WorkItem

_VERSIONS = {"v0.1": 16, "v0.2": 17, "v0.3": 17}
"""The newest QPY of each version of the schema."""

_RESAMPLES = 20
"""Fits with drawn data, for the standard errors of rates."""


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
        checks = read_checks(options, context)
        learning = _learning(options, context)
        circuit = _read(tree.get("instructions"), version, context)
        rng = np.random.default_rng()
        items: list[WorkItem] = []
        boxes = []
        for number, instruction in enumerate(circuit.data):
            field = f"instructions[{number}]"
            boxes.append(_plan_box(instruction, field, learning, checks, context, rng, items))
        execution = Execution(
            init_qubits=getattr(options, "init_qubits", True),
            rep_delay_seconds=check_rep_delay(getattr(options, "rep_delay", None), context, "rep_delay"),
        )
        coupling = context.device.target.build_coupling_map() if checks else None
        state = {
            "version": version,
            "depths": list(learning.layer_pair_depths),
            "boxes": boxes,
            "checks": checks.to_tree(),
            "neighbours": [] if coupling is None else [list(pair) for pair in coupling.get_edges()],
        }
        return Prepared(unit_of(items, execution, context), states.pack(state))

    def finalize(self, kept: dict[str, Any], outcome: Outcome, context: ProgramContext) -> Result:
        """Fit every box and write its generators and rates."""
        data = [
            _trex(box, outcome, kept)
            if box["protocol"] == "trex"
            else _lindblad(box, outcome, kept, mock=context.mock)
            for box in kept["boxes"]
        ]
        return Result(orjson.dumps({"schema_version": kept["version"], "data": data}))


def _learning(options: Any, context: ProgramContext) -> LearningOptions:
    return learning_options(
        None, options.shots_per_randomization, options.num_randomizations, options.layer_pair_depths, context
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
    checks: Checks,
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
        if checks:
            item.circuit = _checked(item.circuit, checks, context, field)
            box["registers"] = registers(item.circuit)
            box["register_qubits"] = _measured(item.circuit)
        box |= {"item": len(items), "plan": plan.to_tree()}
        items.append(item)
        return box
    manager = checks.pass_manager(context)
    protocol_plan, own = plan_protocol([instruction], context.device.target, learning, rng, manager)
    box |= {"item": len(items), "description": protocol_plan.description, "items": protocol_plan.items}
    box["protocol"] = "lindblad"
    items.extend(own)
    return box


def _checked(circuit: QuantumCircuit, checks: Checks, context: ProgramContext, field: str) -> QuantumCircuit:
    manager = checks.pass_manager(context)
    assert manager is not None
    made: QuantumCircuit = guarded(lambda: manager.run(circuit), field, "a box that can be checked")
    return made


def _measured(circuit: QuantumCircuit) -> dict[str, list[int]]:
    """The qubit that each register's bits were measured on."""
    found = {register.name: [0] * register.size for register in circuit.cregs}
    for instruction in circuit.data:
        if instruction.name == "measure":
            for register, place in circuit.find_bit(instruction.clbits[0]).registers:
                found[register.name][place] = circuit.find_bit(instruction.qubits[0]).index
    return found


def _placed(body: QuantumCircuit, qubits: list[int], context: ProgramContext) -> QuantumCircuit:
    from qiskit.circuit import QuantumCircuit

    placed = QuantumCircuit(context.device.num_qubits, body.num_clbits)
    for inside in body.data:
        places = [qubits[body.find_bit(qubit).index] for qubit in inside.qubits]
        placed.append(inside.operation, places, [body.find_bit(clbit).index for clbit in inside.clbits])
    return placed


def _lindblad(box: dict[str, Any], outcome: Outcome, kept: dict[str, Any], *, mock: bool) -> dict[str, Any]:
    """Rates of the box's Pauli-Lindblad model; random data of a dry run fit nothing, and aren't tried."""
    plan = ProtocolPlan(box["item"], box["description"], box["items"])
    checks = Checks.from_tree(kept["checks"])
    stage = checks.stage() if checks and not mock else None
    (found,) = fitted(plan, None if mock else outcome.items, stage, resamples=_RESAMPLES)
    places = [box["qubits"].index(qubit) for qubit in sorted(box["qubits"])]
    generators = [
        [[letters, [places[i] for i in indices]]] for letters, indices, _ in found.error.to_sparse_list()
    ]
    fractions = {str(depth): 1.0 for depth in kept["depths"]}
    rates: dict[str, dict[str, float]] = {str(depth): {} for depth in kept["depths"]}
    if checks:
        _selection_by_depth(plan, outcome, checks, kept, fractions, rates)
    selection: dict[str, Any] = {"fraction_kept": fractions}
    if kept["version"] != "v0.1":
        selection["success_rates"] = rates
    return _result(box, generators, np.asarray(found.error.rates), found.rates_std, "lindblad", selection)


def _selection_by_depth(
    plan: ProtocolPlan,
    outcome: Outcome,
    checks: Checks,
    kept: dict[str, Any],
    fractions: dict[str, float],
    rates: dict[str, dict[str, float]],
) -> None:
    """Fill in how many shots passed at each depth, and how often each qubit did as it should."""
    description = plan.description["qiskit_noise_learning"]
    layout, structure = description["layout"], description["sequences"]["structure"]
    neighbours = {tuple(pair) for pair in kept["neighbours"]}
    firsts = [0, *np.cumsum(layout["item_sequence_lengths"]).tolist()]
    passed: dict[str, list[NDArray[np.bool_]]] = {}
    good: dict[str, dict[str, list[NDArray[np.bool_]]]] = {}
    bit = register = 0
    for number, item in enumerate(plan.items):
        names = layout["item_creg_names"][number]
        qubits = {}
        for name in names:
            size = int(layout["item_clbit_lengths"][register])
            qubits[name] = [int(q) for q in layout["item_clbit_qubit_idxs"][bit : bit + size]]
            register, bit = register + 1, bit + size
        depth = str(int(structure["fragment_depths"][layout["item_sequence_idxs"][firsts[number]]]))
        flipped = checks.flipped(outcome.items[plan.first_item + number], item["sizes"], tuple(item["shape"]))
        passed.setdefault(depth, []).append(kept_shots(flipped, qubits, neighbours).reshape(-1))
        for _, name, did in flipped:
            for place, qubit in enumerate(qubits[name]):
                good.setdefault(depth, {}).setdefault(str(qubit), []).append(did[..., place].reshape(-1))
    for depth, masks in passed.items():
        fractions[depth] = float(np.concatenate(masks).mean())
        rates[depth] = {qubit: float(np.concatenate(did).mean()) for qubit, did in good[depth].items()}


def _trex(box: dict[str, Any], outcome: Outcome, kept: dict[str, Any]) -> dict[str, Any]:
    """Bit flips with probability p before a readout: a Pauli-Lindblad rate of ``-ln(1 - 2 p) / 2`` of X."""
    plan = ReadoutPlan.from_tree(box["plan"])
    ran = outcome.items[box["item"]]
    size, sets = len(plan.qubits), (len(plan.flips),)
    wrong = bits_of(ran, plan.register, size, sets) ^ plan.flips[:, None, :]
    mask = np.ones(wrong.shape[:2], np.bool_)
    success: dict[str, float] = {}
    checks = Checks.from_tree(kept["checks"])
    if checks:
        flipped = checks.flipped(ran, box["registers"], sets)
        neighbours = {tuple(pair) for pair in kept["neighbours"]}
        mask = kept_shots(flipped, box["register_qubits"], neighbours)
        for _, name, did in flipped:
            for place, qubit in enumerate(box["register_qubits"][name]):
                success[str(qubit)] = float(did[..., place].mean())
    shots = mask.sum(axis=1)
    total = max(1, int(shots.sum()))
    counts = (wrong & mask[..., None]).sum(axis=1)
    rate = counts.sum(axis=0) / total
    # Every randomisation is one sample of its own: whether it flips decides which error it sees.
    spread = np.sqrt(((counts - shots[:, None] * rate) ** 2).sum(axis=0)) / total
    fidelity = np.clip(1.0 - 2.0 * rate, 1e-3, None)
    generators = [[["X", [box["qubits"].index(int(qubit))]]] for qubit in plan.qubits]
    selection: dict[str, Any] = {"fraction_kept": float(mask.mean())}
    if kept["version"] != "v0.1":
        selection["success_rates"] = success
    rates = np.maximum(-np.log(fidelity) / 2, 0.0)
    return _result(box, generators, rates, spread / fidelity, "trex", selection)


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
