"""The estimator (``rest.md`` E.3): expectation values, with whatever mitigation is asked for."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ketline.programs import state as states
from ketline.programs.base import Prepared, Result, open_params
from ketline.programs.check import check_folding, check_rep_delay, most_sets, surveyed
from ketline.programs.decoupling import Decouple
from ketline.programs.executor import experimental_execution
from ketline.programs.failures import bad_option, unreadable
from ketline.programs.items import metadata_text
from ketline.programs.learned import recall, remember
from ketline.programs.learning import learning_options
from ketline.programs.mitigation.estimation import JobPlan, evaluate_job, needed_layers, plan_job
from ketline.programs.mitigation.layers import Layer, LayerNoise
from ketline.programs.mitigation.learning import LearningPlan, learned, plan_learning
from ketline.programs.mitigation.recipe import Pub, Recipe
from ketline.programs.options import lifted, validated
from ketline.programs.resilience import Resolved, resolve
from ketline.programs.rounds import Assembly, Execution, unit_of
from ketline.programs.sampler import check_version, typed
from ketline.programs.simulation import simulator_settings
from ketline.programs.wire.fields import known_keys
from ketline.programs.wire.noise import layer_error, read_layer_noises
from ketline.programs.wire.pubs import EstimatorPub, read_estimator_pubs
from ketline.programs.wire.unpack import Budget
from ketline.programs.wire.values import finite, read_options
from ketline.units.packing import Room, Shelved

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ketline.programs.base import Params, ProgramContext
    from ketline.units.work import Outcome

_KEYS = {"pubs", "options", "version", "support_qiskit", "resilience_level", "precision"}


class Estimator:
    """Program ``estimator``, as the client's legacy class and hand-written requests post it."""

    def prepare(self, params: Params, context: ProgramContext) -> Prepared:
        """Read PUBs and options and expand them; first learn the noise of layers that must be known.

        Raises:
            JobError: the payload can't be read, an option isn't allowed, or a circuit isn't for this device.
        """
        job = _Job.read(params, context)
        layers = job.layers_to_learn()
        if layers:
            job.noises += tuple(recall(layers, job.learning_options, context))
            layers = job.layers_to_learn()
        if not layers:
            return job.estimation()
        limit = job.resolved.options.resilience.layer_noise_learning.max_layers_to_learn
        options = learning_options(limit, *job.learning_options, context, "resilience.layer_noise_learning.")
        items, plan = plan_learning(layers, context.device.target, options, job.rng())
        if not items:
            job.noises += tuple(LayerNoise(layer, None) for layer in layers)
            return job.estimation()
        state = {
            "round": "learning",
            "plan": plan.to_tree(),
            "known": [noise.to_tree() for noise in job.noises],
            "params": params.raw,
        }
        return Prepared(unit_of(items, job.execution, context), states.pack(state), more=True)

    def finalize(self, state: bytes, outcome: Outcome, context: ProgramContext) -> Result | Prepared:
        """Estimate and write the result; or, after learning, make the mitigated circuits."""
        kept = states.unpack(state)
        if kept["round"] == "learning":
            job = _Job.read(open_params(kept["params"].tobytes(), context.limits), context)
            noises = learned(LearningPlan.from_tree(kept["plan"]), None if context.mock else outcome.items)
            if not context.mock:
                remember(noises, job.learning_options, context)
            job.noises = (*(LayerNoise.from_tree(tree) for tree in kept["known"]), *noises)
            return job.estimation()
        plan = JobPlan.from_tree(kept["plan"])
        results = []
        for pub, estimates, facts in zip(
            plan.pubs, evaluate_job(plan, outcome.items), kept["pubs"], strict=True
        ):
            results.append(
                (
                    pub.measurement.shape,
                    _finite(estimates.fields) if context.mock else estimates.fields,
                    {
                        "shots": pub.metadata["shots"],
                        "target_precision": facts["target_precision"],
                        "circuit_metadata": json.loads(facts["circuit_metadata"]),
                        "num_randomizations": pub.metadata["num_randomizations"],
                        "resilience": pub.metadata["resilience"],
                    },
                )
            )
        if outcome.approximations:
            kept["metadata"]["approximations"] = outcome.approximations
        write = _for_client if kept["client"] else _plain
        return Result(write(results, kept["metadata"]))


class _Posted:
    """A PUB as it was read, its circuit on a shelf; ``asked`` is its precision, or else the call's."""

    def __init__(self, pub: EstimatorPub, asked: float | None, metadata: str, room: Room) -> None:
        self.asked = asked
        self.metadata = metadata
        self._circuit = Shelved(pub.circuit, room)
        self._observables = pub.observables
        self._values = pub.values
        self._key = pub.key

    def opened(self) -> Pub:
        """The PUB with its circuit, as it is estimated."""
        from qiskit.primitives.containers.observables_array import ObservablesArray

        observables = ObservablesArray(self._observables.nested())
        return Pub(self._circuit.open(), observables, self._values, self._key)


@dataclass(slots=True)
class _Job:
    """An estimator job as it was read.

    ``noises`` is what is known of layers; ``given`` tells that the job brought it, and that layers it doesn't
    name count as noiseless, as the client documents it.
    """

    context: ProgramContext
    resolved: Resolved
    execution: Execution
    posted: list[_Posted]
    client: bool
    noises: tuple[LayerNoise, ...]
    given: bool

    @classmethod
    def read(cls, params: Params, context: ProgramContext) -> _Job:
        budget = Budget(context.limits.max_decompressed_bytes)
        tree = known_keys(params.tree, _KEYS, "params")
        check_version(tree)
        resolved, noises = _resolved(tree, budget)
        options = resolved.options
        asked_for = experimental_execution(options.experimental, timing=False)
        settings, seed = simulator_settings(options.simulator)
        execution = Execution(
            init_qubits=options.execution.init_qubits,
            rep_delay_seconds=check_rep_delay(options.execution.rep_delay, context),
            seed=options.seed_estimator if options.seed_estimator is not None else seed,
            idle_noise=options.dynamical_decoupling.enable,
            allow_approximation=asked_for.allow_approximation,
            simulator=settings,
        )
        precision = tree.get("precision")
        if precision is not None and not (finite(precision) and precision > 0):
            raise unreadable("precision", f"{precision!r} isn't a number greater than 0.")
        posted, room = [], Room()
        pubs = read_estimator_pubs(tree.get("pubs"), budget, context.memory, context.device.num_qubits)
        for number, pub in enumerate(pubs):
            field = f"pubs[{number}]"
            surveyed(pub.circuit, pub.key, context, field)
            metadata = metadata_text(pub.circuit, context, field)
            if resolved.measure_mitigation:
                pub.observables = pub.observables.paulis(f"{field} observables")
            asked = pub.precision if pub.precision is not None else precision
            posted.append(_Posted(pub, asked, metadata, room))
        client = tree.get("support_qiskit", True) is not False
        return cls(context, resolved, execution, posted, client, noises or (), noises is not None)

    @property
    def learning_options(self) -> tuple[int, int, tuple[int, ...]]:
        """How layers are learned: shots of each randomisation, randomisations, depths."""
        learning = self.resolved.options.resilience.layer_noise_learning
        depths = tuple(learning.layer_pair_depths)
        return learning.shots_per_randomization, learning.num_randomizations, depths

    def rng(self) -> np.random.Generator:
        """Randomness, the same in every round of a seeded job."""
        return np.random.default_rng(self.execution.seed)

    def recipes(self) -> list[Recipe]:
        """How each PUB is estimated."""
        options = self.resolved.options.dynamical_decoupling
        recipes = []
        for number, pub in enumerate(self.posted):
            decouple = None
            if options.enable:
                decouple = Decouple(options, self.context, f"pubs[{number}]")
            recipes.append(
                self.resolved.recipe(pub.asked, self.noises, decouple, self.context.limits.max_executions)
            )
        return recipes

    def pubs(self, recipes: list[Recipe]) -> Iterator[tuple[Pub, Recipe]]:
        """Each PUB, opened when it is its turn, with its recipe."""
        for number, (pub, recipe) in enumerate(zip(self.posted, recipes, strict=True)):
            opened = pub.opened()
            if recipe.zne is not None and recipe.zne.amplifier != "pea":
                found = surveyed(opened.circuit, opened.key, self.context, f"pubs[{number}]")
                # Every point in one basis at least, however many observables share it.
                sets = math.prod(opened.points.shape[:-1]) * recipe.sizes.randomizations
                check_folding(found, recipe.zne.noise_factors, sets, self.context, f"pubs[{number}]")
            yield opened, recipe

    def layers_to_learn(self) -> list[Layer]:
        """Layers whose noise is needed and not known, most important first."""
        if not self.resolved.injects or self.given:
            return []
        return needed_layers(self.pubs(self.recipes()), self.context.memory)

    def estimation(self) -> Prepared:
        """The round that estimates."""
        recipes = self.recipes()
        readout = self.resolved.readout_sizes(
            [recipe.sizes for recipe in recipes], most_sets(self.context.limits)
        )
        assembly = Assembly(self.execution, self.context)
        plan = plan_job(assembly, self.pubs(recipes), readout, self.rng(), self.context.memory)
        metadata = self.resolved.metadata()
        if self.noises:
            metadata["resilience"]["layer_noise_model"] = [noise.to_tree() for noise in self.noises]
        facts = [
            {"target_precision": self.resolved.target(pub.asked), "circuit_metadata": pub.metadata}
            for pub in self.posted
        ]
        state = {
            "round": "estimation",
            "plan": plan.to_tree(),
            "pubs": facts,
            "metadata": metadata,
            "client": self.client,
        }
        return Prepared(assembly.unit(), states.pack(state))


def _finite(fields: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """0 where a dry run's random data determine nothing, such as a correction by random readout errors."""
    return {name: np.where(np.isfinite(values), values, 0.0) for name, values in fields.items()}


PubResults = list[tuple[tuple[int, ...], dict[str, NDArray[np.float64]], dict[str, Any]]]


def _resolved(tree: dict[str, Any], budget: Budget) -> tuple[Resolved, tuple[LayerNoise, ...] | None]:
    from ibm_quantum_schemas.estimator.version_0_1.options import OptionsModel

    given = tree.get("options") or {}
    noises = None
    if isinstance(given, dict) and isinstance(given.get("resilience"), dict):
        # Circuits and arrays stand in it: it is read by rules of its own.
        noises = given["resilience"].get("layer_noise_model")
        rest = {key: value for key, value in given["resilience"].items() if key != "layer_noise_model"}
        given = {**given, "resilience": rest}
    options = validated(OptionsModel, lifted(read_options(given, budget)))
    level = tree.get("resilience_level")
    if level is None:
        level = 1
    if type(level) is not int or not 0 <= level <= 2:
        raise bad_option("resilience_level", f"{level!r} isn't 0, 1 or 2.")
    known = (
        None if noises is None else read_layer_noises(noises, budget, "options.resilience.layer_noise_model")
    )
    return resolve(options, level), known


def _for_client(results: PubResults, metadata: dict[str, Any]) -> bytes:
    from qiskit_ibm_runtime.json import RuntimeEncoder

    if trees := metadata["resilience"].get("layer_noise_model"):
        metadata["resilience"]["layer_noise_model"] = [
            layer_error(LayerNoise.from_tree(tree)) for tree in trees
        ]
    pubs = []
    for shape, fields, facts in results:
        databin = {
            "field_names": list(fields),
            "shape": list(shape),
            # A scalar is an array of shape () on the wire too.
            "fields": {name: np.asarray(values, dtype=np.float64) for name, values in fields.items()},
        }
        pubs.append(typed("PubResult", {"data": typed("DataBin", databin), "metadata": facts}))
    whole = typed("PrimitiveResult", {"pub_results": pubs, "metadata": metadata})
    return json.dumps(whole, cls=RuntimeEncoder).encode()


def _plain(results: PubResults, metadata: dict[str, Any]) -> bytes:
    """``support_qiskit: false``: numbers and nested lists; what isn't finite is null."""
    metadata["resilience"].pop("layer_noise_model", None)
    pubs = [
        {
            "data": {name: _nulled(np.asarray(values).tolist()) for name, values in fields.items()},
            "metadata": facts,
        }
        for _, fields, facts in results
    ]
    return json.dumps({"results": pubs, "metadata": metadata}).encode()


def _nulled(value: Any) -> Any:
    if isinstance(value, list):
        return [_nulled(part) for part in value]
    return value if math.isfinite(value) else None
