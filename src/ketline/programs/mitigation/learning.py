"""Learning the noise of layers of gates, by running the protocol's circuits.

    items, plan = plan_learning(layers, target, LearningOptions(), rng)
    noises = learned(plan, outcomes)            # LayerNoise for every layer, `error` None beyond the limit

A layer is repeated an even number of times between random Pauli frames, in nine bases that together see
every Pauli on one qubit and on two neighbouring ones; the fidelities with which Paulis survive a pair of
layers are fitted from their decays, and rates of a sparse Pauli-Lindblad model by non-negative least squares
from the fidelities (van den Berg, Minev, Kandala, Temme, Nature Physics 19, 1116). Protocol and analysis are
those of `qiskit_noise_learning`, which the client's executor-based noise learner calls too. Since only pairs
of layers are seen, rates that a layer turns into each other are learned as equal.

``plan.to_tree()`` and ``LearningPlan.from_tree`` (for `ketline.programs.state.pack`) keep the plan meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import CircuitInstruction, QuantumCircuit
from qiskit.quantum_info import PauliLindbladMap
from samplomatic import Twirl
from samplomatic.quantum_program import QuantumProgramItemResult, QuantumProgramResult

from ketline.programs.failures import rejected
from ketline.programs.mitigation.layers import Layer, LayerNoise
from ketline.programs.mitigation.samplexes import draw
from ketline.units.work import ItemOutcome, WorkItem

if TYPE_CHECKING:
    from qiskit.transpiler import PassManager, Target


@dataclass(frozen=True, slots=True)
class LearningOptions:
    """Options of ``layer_noise_learning`` and of the noise learner. No limit on layers: None."""

    max_layers_to_learn: int | None = 4
    shots_per_randomization: int = 128
    num_randomizations: int = 32
    layer_pair_depths: tuple[int, ...] = (0, 1, 2, 4, 16, 32)


@dataclass(frozen=True, slots=True)
class LearnedMap:
    """Noise over an instruction's qubits in ascending order, and the standard errors of its rates."""

    error: PauliLindbladMap
    rates_std: NDArray[np.float64]


@dataclass(slots=True)
class ProtocolPlan:
    """What `fitted` needs of one protocol: its description, and each item's flips and register sizes."""

    first_item: int
    description: dict[str, Any]
    items: list[dict[str, Any]]


@dataclass(slots=True)
class LearningPlan:
    """One protocol for each layer that is learned, and the layers that aren't."""

    layers: list[Layer]
    protocols: list[ProtocolPlan]

    def to_tree(self) -> dict[str, Any]:
        """A tree of lists and arrays."""
        return {
            "layers": [LayerNoise(layer, None).to_tree() for layer in self.layers],
            "protocols": [
                {"first": plan.first_item, "description": plan.description, "items": plan.items}
                for plan in self.protocols
            ],
        }

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> LearningPlan:
        """What `to_tree` gave."""
        return cls(
            [LayerNoise.from_tree(layer).layer for layer in tree["layers"]],
            [ProtocolPlan(part["first"], part["description"], part["items"]) for part in tree["protocols"]],
        )


def plan_learning(
    layers: Sequence[Layer], target: Target, options: LearningOptions, rng: np.random.Generator
) -> tuple[list[WorkItem], LearningPlan]:
    """The circuits that learn the first ``max_layers_to_learn`` of some layers.

    Args:
        layers: Most important first, as `layers.unique_layers` gives them.
        target: The device.
        options: How many, how deep, how often.
        rng: The source of randomness.

    Raises:
        JobError: a layer can't be learned.
    """
    items: list[WorkItem] = []
    protocols = []
    for layer in layers[: options.max_layers_to_learn]:
        plan, own = plan_protocol([boxed(layer, target)], target, options, rng)
        plan.first_item = len(items)
        items.extend(own)
        protocols.append(plan)
    return items, LearningPlan(list(layers), protocols)


def learned(plan: LearningPlan, outcomes: Sequence[ItemOutcome] | None) -> list[LayerNoise]:
    """The noise of every layer, in the order in which they were given; None for those not learned.

    Without outcomes, as in a dry run whose data mean nothing, it is what a perfect device would have shown.
    """
    noises = []
    for index, layer in enumerate(plan.layers):
        error = None
        if index < len(plan.protocols):
            (found,) = fitted(plan.protocols[index], outcomes)
            error = found.error
        noises.append(LayerNoise(layer, error))
    return noises


def boxed(layer: Layer, target: Target) -> CircuitInstruction:
    """A layer as a twirled box on the device's qubits."""
    circuit = QuantumCircuit(target.num_qubits)
    gates = layer.circuit()
    with circuit.box([Twirl()]):
        circuit.noop(*layer.qubits)
        for instruction in gates.data:
            circuit.append(
                instruction.operation, [layer.qubits[gates.find_bit(q).index] for q in instruction.qubits]
            )
    return circuit.data[0]


def plan_protocol(
    instructions: Sequence[CircuitInstruction],
    target: Target,
    options: LearningOptions,
    rng: np.random.Generator,
    pass_manager: PassManager | None = None,
) -> tuple[ProtocolPlan, list[WorkItem]]:
    """The circuits that learn some boxes together; a box may be the measurement of all their qubits.

    ``pass_manager`` is applied to every template, for instance to add checks.

    Raises:
        JobError: the boxes can't be learned together.
    """
    from qiskit_noise_learning.protocols import prepare_vanilla_program

    try:
        program = prepare_vanilla_program(
            SimpleNamespace(target=target, num_qubits=target.num_qubits),
            list(instructions),
            num_randomizations=options.num_randomizations,
            shots_per_randomization=options.shots_per_randomization,
            fragment_depths=sorted(set(options.layer_pair_depths)),
            pass_manager=pass_manager,
        )
    except ValueError as error:
        raise rejected("instructions", f"the noise can't be learned: {error}") from None
    items, kept = [], []
    for item in program.items:
        arrays = draw(item.samplex, item.samplex_arguments, item.shape, rng)
        values = arrays.pop("parameter_values").reshape(-1, item.circuit.num_parameters)
        items.append(WorkItem(item.circuit, values, options.shots_per_randomization))
        sizes = {register.name: register.size for register in item.circuit.cregs}
        kept.append({"shape": item.shape, "sizes": sizes, "arrays": arrays})
    return ProtocolPlan(0, program.passthrough_data, kept), items


def fitted(
    plan: ProtocolPlan,
    outcomes: Sequence[ItemOutcome] | None,
    raw_data_stage: Any = None,
    resamples: int = 0,
) -> list[LearnedMap]:
    """Fit a protocol's model; one map for each of its instructions.

    Args:
        plan: The protocol.
        outcomes: Those of all items of the unit, of which the protocol's start at ``plan.first_item``; None
            for what a perfect device would have shown.
        raw_data_stage: A stage of `qiskit_noise_learning.analysis` that picks shots before the fit.
        resamples: How often to fit again with fidelities drawn within their errors, for the standard errors
            of the rates; without, those are 0.

    Raises:
        JobError: too little is left of the signal to fit anything.
    """
    from qiskit_noise_learning.protocols import process_vanilla_result

    try:
        maps, names, fit = process_vanilla_result(program_result(plan, outcomes), raw_data_stage)
        rates = [_rates_again(fit, seed) for seed in range(resamples)]
    except ValueError as error:
        raise rejected(
            "layer_pair_depths",
            f"the noise can't be fitted to what was measured: {error}",
            "Use smaller depths, or more randomizations and shots.",
        ) from None
    spread = np.std(rates, axis=0, ddof=1) if len(rates) > 1 else np.zeros(len(_indices(fit)))
    errors: dict[str, list[float]] = {}
    for index, deviation in zip(_indices(fit), spread, strict=True):
        errors.setdefault(index.gate_name, []).append(float(deviation))
    return [LearnedMap(one, np.array(errors[name])) for one, name in zip(maps, names, strict=True)]


def _indices(fit: Any) -> Any:
    return fit.model_data.dataset["parameter_index"].data


def _rates_again(fit: Any, seed: int) -> NDArray[np.float64]:
    """The rates that the same fit gives for fidelities as another run might have found them."""
    from qiskit_noise_learning.analysis import LegacySolve
    from qiskit_noise_learning.data import AggregatedObservableData

    seen = fit.aggregated_observable_data.dataset
    scatter = np.random.default_rng(seed).normal(0.0, np.nan_to_num(seen["estimate_std"].data))
    drawn = np.maximum(seen["estimate_values"].data + scatter, 1e-6)
    again = fit.copy()
    again[AggregatedObservableData] = AggregatedObservableData(
        seen.assign(estimate_values=("observable", drawn))
    )
    solved = LegacySolve().run(again)
    rates: NDArray[np.float64] = solved.model_data.dataset["parameter_values"].data
    return rates


def program_result(plan: ProtocolPlan, outcomes: Sequence[ItemOutcome] | None) -> QuantumProgramResult:
    """The outcomes of a protocol as its analysis takes them; without any, one perfect shot of each set."""
    results = []
    for offset, kept in enumerate(plan.items):
        arrays = dict(kept["arrays"])
        for name, size in kept["sizes"].items():
            if outcomes is None:
                # Every circuit ends in |0...0>, but for the flips that are to be undone.
                arrays[name] = arrays[f"measurement_flips.{name}"]
                continue
            packed = outcomes[plan.first_item + offset].bits[name]
            bits = np.unpackbits(packed[..., ::-1], axis=-1, count=size, bitorder="little").view(np.bool_)
            arrays[name] = bits.reshape(*kept["shape"], *bits.shape[1:])
        results.append(QuantumProgramItemResult(arrays))
    return QuantumProgramResult(results, passthrough_data=plan.description)
