"""Estimating expectation values with any combination of techniques: circuits in, estimates out.

    plan = plan_job(items, [(Pub(circuit, observables, points), recipe), …], readout_sizes, rng)
    estimates = evaluate_job(plan, outcomes)        # one an element, as `estimates.Estimates`
    plan.pubs[0].metadata                           # what the result says of the techniques

``plan`` goes through `JobPlan.to_tree` and `JobPlan.from_tree` (for `ketline.programs.state.pack`) while the
items are on the QPU. With a layer's noise unknown, `needed_layers` says which layers to learn first
(`learning`); what is learned goes into `Recipe.noises`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from qiskit.circuit import QuantumCircuit

from ketline.programs.failures import beyond_limit, rejected
from ketline.programs.mitigation.amplified import Amplified, measured_template
from ketline.programs.mitigation.counts import Counts
from ketline.programs.mitigation.estimates import Estimates, Extrapolation, Run, estimate
from ketline.programs.mitigation.folding import Folding
from ketline.programs.mitigation.layers import Layer, maps_for, unique_layers
from ketline.programs.mitigation.observables import MeasurementPlan, plan_measurement
from ketline.programs.mitigation.pec import Cancellation, plan_cancellation
from ketline.programs.mitigation.recipe import Pub, Recipe
from ketline.programs.mitigation.trex import ReadoutPlan, prepare_readout, read
from ketline.programs.mitigation.twirling import (
    Drawn,
    Sizes,
    Template,
)
from ketline.programs.recurring import Memory
from ketline.units.work import ItemOutcome, WorkItem


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


class Items(Protocol):
    """Takes items; its length is the number of the next one."""

    def append(self, item: WorkItem, /) -> None:
        """Take an item."""

    def __len__(self) -> int: ...


def needed_layers(pubs: Iterable[tuple[Pub, Recipe]], memory: Memory | None = None) -> list[Layer]:
    """The layers whose noise the pubs' recipes need, most important first; those already known left out."""
    sites, known = [], set()
    for pub, recipe in pubs:
        if recipe.injects:
            known |= {noise.layer for noise in recipe.noises}
            qubits = plan_measurement(pub.observables, pub.points.shape[:-1]).qubits.tolist()
            _, template, _ = measured_template(pub, qubits, recipe, memory or Memory())
            sites.append(template.sites)
    return [layer for layer in unique_layers(sites) if layer not in known]


def plan_job(
    items: Items,
    pubs: Iterable[tuple[Pub, Recipe]],
    readout_sizes: Sizes | None,
    rng: np.random.Generator,
    memory: Memory | None = None,
) -> JobPlan:
    """Expand pubs, one after the other, into circuits and parameter sets.

    Args:
        items: Takes the items as they are made.
        pubs: Each with its recipe.
        readout_sizes: Correct all pubs for readout errors, and calibrate with so much; None not to. The
            recipes must then twirl measurements.
        rng: The source of all randomness.
        memory: What is kept of earlier jobs; nothing drawn at random is.

    Raises:
        JobError: a circuit or an observable can't be treated as its recipe says; the option is named.
    """
    memory = memory if memory is not None else Memory()
    plans = []
    device_width = 0
    for index, (pub, recipe) in enumerate(pubs):
        device_width = max(device_width, pub.circuit.num_qubits)
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
        return JobPlan(plans)
    item, readout = prepare_readout(qubits, device_width, readout_sizes, rng, memory)
    items.append(item)
    return JobPlan(plans, readout)


def _plan_pub(
    index: int,
    pub: Pub,
    recipe: Recipe,
    measurement: MeasurementPlan,
    items: Items,
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
        key, template, plan.register = measured_template(pub, qubits, recipe, memory)
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
        _add(plan, items, template.circuit, key, drawn, randomizations, recipe)
    else:
        _check_sets(index, recipe, len(points) * randomizations * len(factors))
        foldings = [
            None
            if zne is None or zne.amplifier == "pea" or factor == 1.0
            else Folding.choose(factor, zne.amplifier, rng)
            for factor in factors
        ]
        amplified = Amplified(pub, recipe, qubits, points, bases, rng, memory)
        drawn_of = amplified.twirled if recipe.twirl_gates and qubits else amplified.dressed
        plan.register, found = drawn_of(foldings, randomizations)
        for circuit, key, one in found:
            _add(plan, items, circuit, key, [one], randomizations, recipe)
    metadata["num_randomizations"] = randomizations
    metadata["shots"] = randomizations * sizes.shots
    return plan


def _add(
    plan: PubPlan,
    items: Items,
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
