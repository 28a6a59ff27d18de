"""Estimating expectation values with any combination of techniques: circuits in, estimates out.

    items, plan = plan_job([(Pub(circuit, observables, points), recipe), …], readout_sizes, rng)
    estimates = evaluate_job(plan, outcomes)        # one an element, as `estimates.Estimates`
    plan.pubs[0].metadata                           # what the result says of the techniques

``plan`` goes through `JobPlan.to_tree` and `JobPlan.from_tree` (for `ketline.programs.state.pack`) while the
items are on the QPU. With a layer's noise unknown, `needed_layers` says which layers to learn first
(`learning`); what is learned goes into `Recipe.noises`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit

from ketline.programs.failures import beyond_limit, rejected
from ketline.programs.mitigation.counts import Counts
from ketline.programs.mitigation.estimates import Estimates, Extrapolation, Run, estimate
from ketline.programs.mitigation.folding import Folding
from ketline.programs.mitigation.layers import Layer, LayerNoise, maps_for, unique_layers
from ketline.programs.mitigation.measuring import Dressed, dress, with_measurement
from ketline.programs.mitigation.observables import MeasurementPlan, plan_measurement
from ketline.programs.mitigation.pec import Cancellation, plan_cancellation
from ketline.programs.mitigation.trex import ReadoutPlan, prepare_readout, read
from ketline.programs.mitigation.twirling import (
    Drawn,
    Sizes,
    Strategy,
    Template,
    template_bytes,
    twirl,
)
from ketline.programs.recurring import Memory, circuit_bytes
from ketline.units.work import ItemOutcome, WorkItem

if TYPE_CHECKING:
    from qiskit.primitives.containers.observables_array import ObservablesArray

Amplifier = Literal["gate_folding", "gate_folding_front", "gate_folding_back", "pea"]


@dataclass(frozen=True, slots=True)
class Zne:
    """Options of zero-noise extrapolation, resolved.

    ``extrapolated_noise_factors`` None means 0 and all factors.
    """

    noise_factors: tuple[float, ...] = (1.0, 3.0, 5.0)
    amplifier: Amplifier = "gate_folding"
    extrapolators: tuple[str, ...] = ("exponential", "linear")
    extrapolated_noise_factors: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Pec:
    """Options of probabilistic error cancellation (see `pec.plan_cancellation`)."""

    max_overhead: float | None = 100.0
    noise_gain: float | Literal["auto"] = "auto"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one pub is estimated.

    ``sizes``: randomisations, and shots of each; one randomisation without twirling. PEC multiplies the
    randomisations. ``noises``: what is known of layers, for PEC and for ZNE with PEA, which both twirl gates
    whatever ``twirl_gates`` says. ``decouple`` is applied to every circuit before it is run, with the key by
    which the tenant's memory knows it (None: it doesn't). ``max_sets``: parameter sets of all circuits of
    the pub; more are refused before they are drawn.
    """

    sizes: Sizes
    twirl_gates: bool = False
    twirl_measures: bool = False
    strategy: Strategy = "active-accum"
    zne: Zne | None = None
    pec: Pec | None = None
    noises: tuple[LayerNoise, ...] = ()
    decouple: Callable[[QuantumCircuit, Hashable | None], QuantumCircuit] | None = None
    max_sets: int = 10_000_000

    @property
    def injects(self) -> bool:
        """Whether noise is injected, for which it must be known."""
        return self.pec is not None or (self.zne is not None and self.zne.amplifier == "pea")


@dataclass(frozen=True, slots=True)
class Pub:
    """A circuit on physical qubits, observables as wide as it, and points ``(*shape, n_parameters)``.

    ``key`` tells the circuit from others in the tenant's memory; None keeps nothing of it.
    """

    circuit: QuantumCircuit
    observables: ObservablesArray
    points: NDArray[np.float64]
    key: Hashable | None = None


@dataclass(slots=True)
class PubPlan:
    """What `evaluate_job` needs of a pub, JSON and arrays only.

    ``runs``: one a noise factor: item, first set, number of randomisations, flips ``(sets, qubits)`` or None,
    signs ``(sets,)`` or None; sets are counted in the item. ``metadata`` is what the result tells.
    """

    measurement: MeasurementPlan
    register: str
    runs: list[dict[str, Any]]
    gamma: float
    extrapolation: Extrapolation | None
    metadata: dict[str, Any] = field(default_factory=dict)

    def to_tree(self) -> dict[str, Any]:
        """A tree of lists and arrays."""
        extrapolation = None
        if self.extrapolation is not None:
            extrapolation = {name: getattr(self.extrapolation, name) for name in Extrapolation.__slots__}
        return {
            "measurement": self.measurement.to_tree(),
            "register": self.register,
            "runs": self.runs,
            "gamma": self.gamma,
            "extrapolation": extrapolation,
            "metadata": self.metadata,
        }

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> PubPlan:
        """What `to_tree` gave."""
        extrapolation = tree["extrapolation"]
        return cls(
            MeasurementPlan.from_tree(tree["measurement"]),
            tree["register"],
            tree["runs"],
            tree["gamma"],
            None
            if extrapolation is None
            else Extrapolation(**{k: tuple(v) for k, v in extrapolation.items()}),
            tree["metadata"],
        )


@dataclass(slots=True)
class JobPlan:
    """The pubs of a job, and the calibration of readout if there is one (always its last item)."""

    pubs: list[PubPlan]
    readout: ReadoutPlan | None = None

    def to_tree(self) -> dict[str, Any]:
        """A tree of lists and arrays, for `ketline.programs.state.pack`."""
        return {
            "pubs": [pub.to_tree() for pub in self.pubs],
            "readout": None if self.readout is None else self.readout.to_tree(),
        }

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> JobPlan:
        """What `to_tree` gave."""
        readout = tree["readout"]
        return cls(
            [PubPlan.from_tree(pub) for pub in tree["pubs"]],
            None if readout is None else ReadoutPlan.from_tree(readout),
        )


def needed_layers(pubs: Sequence[tuple[Pub, Recipe]], memory: Memory | None = None) -> list[Layer]:
    """The layers whose noise the pubs' recipes need, most important first; those already known left out."""
    sites, known = [], set()
    for pub, recipe in pubs:
        if recipe.injects:
            known |= {noise.layer for noise in recipe.noises}
            qubits = plan_measurement(pub.observables, pub.points.shape[:-1]).qubits.tolist()
            template, _ = _injecting(pub, qubits, recipe, memory or Memory())
            sites.append(template.sites)
    return [layer for layer in unique_layers(sites) if layer not in known]


def plan_job(
    pubs: Sequence[tuple[Pub, Recipe]],
    readout_sizes: Sizes | None,
    rng: np.random.Generator,
    memory: Memory | None = None,
) -> tuple[list[WorkItem], JobPlan]:
    """Expand pubs into circuits and parameter sets.

    Args:
        pubs: Each with its recipe.
        readout_sizes: Correct all pubs for readout errors, and calibrate with so much; None not to. The
            recipes must then twirl measurements.
        rng: The source of all randomness.
        memory: What is kept of earlier jobs; nothing drawn at random is.

    Raises:
        JobError: a circuit or an observable can't be treated as its recipe says; the option is named.
    """
    memory = memory if memory is not None else Memory()
    items: list[WorkItem] = []
    plans = []
    for index, (pub, recipe) in enumerate(pubs):
        measurement = plan_measurement(pub.observables, pub.points.shape[:-1])
        if readout_sizes is not None and (measurement.letters >> 2).any():
            raise rejected(
                f"pubs[{index}].observables", "projectors can't be corrected for readout errors.",
                "Write them as sums of Paulis, or turn resilience.measure_mitigation off.",
            )  # fmt: skip
        if readout_sizes is not None and not recipe.twirl_measures:
            raise ValueError("readout mitigation needs measurement twirling")
        plans.append(_plan_pub(index, pub, recipe, measurement, items, rng, memory))
    qubits = sorted({int(qubit) for plan in plans for qubit in plan.measurement.qubits})
    if readout_sizes is None or not qubits:
        return items, JobPlan(plans)
    item, readout = prepare_readout(
        qubits, max(pub.circuit.num_qubits for pub, _ in pubs), readout_sizes, rng, memory
    )
    items.append(item)
    return items, JobPlan(plans, readout)


def _plan_pub(
    index: int,
    pub: Pub,
    recipe: Recipe,
    measurement: MeasurementPlan,
    items: list[WorkItem],
    rng: np.random.Generator,
    memory: Memory,
) -> PubPlan:
    sizes, zne = recipe.sizes, recipe.zne
    factors = zne.noise_factors if zne is not None else (1.0,)
    shape = pub.points.shape  # without parameters the array is empty, and numpy can't tell what -1 means
    points = pub.points.reshape(math.prod(shape[:-1]), shape[-1])[measurement.settings[:, 0]]
    bases = measurement.bases[measurement.settings[:, 1]]
    resilience: dict[str, Any] = {}
    metadata: dict[str, Any] = {"resilience": resilience}
    plan = PubPlan(measurement, "", [], 1.0, None, metadata)
    if zne is not None:
        targets = zne.extrapolated_noise_factors
        if targets is None:
            targets = (0.0, *factors)
        plan.extrapolation = Extrapolation(tuple(factors), tuple(zne.extrapolators), tuple(targets))
    qubits = measurement.qubits.tolist()
    randomizations = sizes.randomizations

    if recipe.injects:
        template, plan.register = _injecting(pub, qubits, recipe, memory)
        maps, missing = maps_for(template.sites, recipe.noises)
        cancellation = plan_cancellation(
            template.sites,
            maps,
            *((recipe.pec.max_overhead, recipe.pec.noise_gain) if recipe.pec else (None, 1.0)),
        )
        resilience["layer_noise"] = _layer_noise(template, maps, missing, cancellation)
        scales = [factor - 1.0 for factor in factors]
        if recipe.pec is not None:
            scales, plan.gamma = [cancellation.scale], cancellation.gamma
            resilience["pec"] = {"num_randomizations_scaling": cancellation.scaling}
            randomizations = _scaled(randomizations, cancellation.scaling, recipe, len(points))
        _check_sets(index, recipe, len(points) * randomizations * len(scales))
        drawn = [template.draw(points, randomizations, rng, bases=bases, maps=maps, scale=s) for s in scales]
        key = _key(pub, qubits, recipe, "injecting")
        _add(plan, items, template.circuit, key, drawn, randomizations, recipe)
    else:
        _check_sets(index, recipe, len(points) * randomizations * len(factors))
        for factor in factors:
            dressing = recipe.twirl_measures or bool((bases > 1).any())
            folding = None
            if zne is not None and zne.amplifier != "pea" and factor != 1.0:
                folding = Folding.choose(factor, zne.amplifier, rng)
            key = None
            if folding is None or not folding.random:
                key = _key(pub, qubits, recipe, "measured", dressing, folding)
            template_or_dressed, plan.register = memory.get(
                key, partial(_ready, pub.circuit, folding, qubits, recipe, dressing), _ready_bytes
            )
            if isinstance(template_or_dressed, Template):
                one = template_or_dressed.draw(points, randomizations, rng, bases=bases)
            else:
                one = template_or_dressed.draw(
                    points, randomizations, rng, bases=bases, flips=recipe.twirl_measures
                )
            _add(plan, items, template_or_dressed.circuit, key, [one], randomizations, recipe)
    metadata["num_randomizations"] = randomizations
    metadata["shots"] = randomizations * sizes.shots
    return plan


def _key(pub: Pub, qubits: list[int], recipe: Recipe, *more: Hashable) -> Hashable | None:
    """What determines a circuit that is made of a pub's circuit; None if that isn't to be kept."""
    if pub.key is None:
        return None
    return (
        "estimated",
        pub.key,
        tuple(qubits),
        recipe.twirl_gates,
        recipe.twirl_measures,
        recipe.strategy,
        *more,
    )


def _ready(
    circuit: QuantumCircuit, folding: Folding | None, qubits: list[int], recipe: Recipe, dressing: bool
) -> tuple[Template | Dressed, str]:
    if folding is not None:
        circuit = folding.fold(circuit)
    if recipe.twirl_gates and qubits:
        measured, register = with_measurement(circuit, qubits)
        return (
            twirl(
                measured,
                gates=True,
                measures=recipe.twirl_measures,
                strategy=recipe.strategy,
                change_basis=True,
            ),
            register,
        )
    dressed = dress(circuit, qubits, dressing=dressing)
    return dressed, dressed.register


def _ready_bytes(made: tuple[Template | Dressed, str]) -> int:
    template = made[0]
    return template_bytes(template) if isinstance(template, Template) else circuit_bytes(template.circuit)


def _injecting(pub: Pub, qubits: list[int], recipe: Recipe, memory: Memory) -> tuple[Template, str]:
    """The template that injects noise, and the register of its measurement."""

    def make() -> tuple[Template, str]:
        circuit, register = with_measurement(pub.circuit, qubits)
        template = twirl(
            circuit,
            gates=True,
            measures=recipe.twirl_measures,
            strategy=recipe.strategy,
            change_basis=True,
            noise_sites=True,
            field="resilience.pec" if recipe.pec is not None else "resilience.zne",
        )
        return template, register

    return memory.get(_key(pub, qubits, recipe, "injecting"), make, _ready_bytes)


def _add(
    plan: PubPlan,
    items: list[WorkItem],
    circuit: QuantumCircuit,
    key: Hashable | None,
    drawn: list[Drawn],
    randomizations: int,
    recipe: Recipe,
) -> None:
    """One item for all of ``drawn``, and a run for each of them. Nothing to measure makes no item."""
    first = 0
    for one in drawn:
        run: dict[str, Any] = {
            "item": len(items),
            "first": first,
            "randomizations": randomizations,
            "flips": one.flips.get(plan.register),
            "signs": one.signs,
        }
        plan.runs.append(run)
        first += len(one.parameter_values)
    if first:
        if recipe.decouple is not None:
            circuit = recipe.decouple(circuit, key)
        values = np.concatenate([one.parameter_values for one in drawn])
        items.append(WorkItem(circuit, values, recipe.sizes.shots))


def _scaled(randomizations: int, scaling: float, recipe: Recipe, n_points: int) -> int:
    scaled = randomizations * scaling
    if not scaled * n_points <= recipe.max_sets:
        raise beyond_limit(
            "resilience.pec: circuits after scaling by the sampling overhead",
            scaled * n_points,
            recipe.max_sets,
            "Lower resilience.pec.max_overhead, raise resilience.pec.noise_gain, or ask for less precision.",
        )
    return math.ceil(scaled)


def _check_sets(index: int, recipe: Recipe, sets: int) -> None:
    if sets > recipe.max_sets:
        raise beyond_limit(
            f"pubs[{index}]: circuits after expansion",
            sets,
            recipe.max_sets,
            "Send fewer points, observables, noise factors or randomizations, or split the job.",
        )


def _layer_noise(
    template: Template, maps: dict[str, Any], missing: set[str], cancellation: Cancellation
) -> dict[str, Any]:
    refs = list(dict.fromkeys(site.ref for site in template.sites if site.ref not in missing))
    overheads = [plan_cancellation([_site(template, ref)], maps).noise_overhead for ref in refs]
    overhead = cancellation.noise_overhead
    return {
        "noise_overhead": overhead if math.isfinite(overhead) else "infinity",
        "total_mitigated_layers": sum(site.ref not in missing for site in template.sites),
        "unique_mitigated_layers": len(refs),
        "unique_mitigated_layers_noise_overhead": [
            value if math.isfinite(value) else "infinity" for value in overheads
        ],
    }


def _site(template: Template, ref: str) -> Any:
    return next(site for site in template.sites if site.ref == ref)


def evaluate_job(plan: JobPlan, outcomes: Sequence[ItemOutcome]) -> list[Estimates]:
    """Estimates of every pub, from the outcomes of `plan_job`'s items in their order."""
    readout = None if plan.readout is None else read(plan.readout, outcomes[-1])
    results = []
    for pub in plan.pubs:
        width = len(pub.measurement.qubits)
        runs = []
        for run in pub.runs if width else []:
            sets = run["randomizations"] * len(pub.measurement.settings)
            bits = outcomes[run["item"]].bits[pub.register][run["first"] : run["first"] + sets]
            factors = None
            if run["signs"] is not None:
                factors = run["signs"] * pub.gamma
            runs.append(Run(Counts.of(bits, run["flips"], width), run["randomizations"], 0, factors))
        estimates = estimate(pub.measurement, runs, readout, pub.extrapolation)
        if estimates.extrapolators:
            pub.metadata["resilience"]["zne"] = {"extrapolator": _names(estimates, pub)}
        results.append(estimates)
    return results


def _names(estimates: Estimates, pub: PubPlan) -> Any:
    """The chosen extrapolator of every element, in its shape: a name, or names where terms differ."""
    flat = [
        (names[0] if len(set(names)) == 1 else names) if names else pub.extrapolation.extrapolators[0]  # type: ignore[union-attr]
        for names in estimates.extrapolators
    ]
    array = np.empty(len(flat), object)
    array[:] = flat
    return array.reshape(pub.measurement.shape).tolist()
