"""The estimator (``rest.md`` E.3): expectation values, with whatever mitigation is asked for."""

from __future__ import annotations

import json
import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ketline.programs import state as states
from ketline.programs.base import Prepared, Result
from ketline.programs.check import check_isa, check_rep_delay, survey
from ketline.programs.decoupling import decoupled
from ketline.programs.executor import experimental_execution
from ketline.programs.failures import bad_option, unreadable
from ketline.programs.mitigation.estimation import JobPlan, Pub, Recipe, evaluate_job, needed_layers, plan_job
from ketline.programs.options import validated
from ketline.programs.resilience import Resolved, resolve
from ketline.programs.rounds import Execution, unit_of
from ketline.programs.sampler import check_version, typed
from ketline.programs.simulation import simulator_settings
from ketline.programs.wire.fields import known_keys
from ketline.programs.wire.noise import layer_error, read_layer_noises
from ketline.programs.wire.pubs import EstimatorPub, read_estimator_pubs
from ketline.programs.wire.unpack import Budget
from ketline.programs.wire.values import finite, read_options

if TYPE_CHECKING:
    from ketline.programs.base import Params, ProgramContext
    from ketline.units.work import Outcome

_KEYS = {"pubs", "options", "version", "support_qiskit", "resilience_level", "precision"}


class Estimator:
    """Program ``estimator``, as the client's legacy class and hand-written requests post it."""

    def prepare(self, params: Params, context: ProgramContext) -> Prepared:
        """Read PUBs and options and expand them.

        Raises:
            JobError: the payload can't be read, an option isn't allowed, or a circuit isn't for this device.
        """
        budget = Budget(context.limits.max_decompressed_bytes)
        tree = known_keys(params.tree, _KEYS, "params")
        check_version(tree)
        resolved = _resolved(tree, budget)
        options = resolved.options
        timing, stretches = experimental_execution(options.experimental)
        settings, seed = simulator_settings(options.simulator)
        execution = Execution(
            init_qubits=options.execution.init_qubits,
            rep_delay_seconds=check_rep_delay(options.execution.rep_delay, context),
            seed=options.seed_estimator if options.seed_estimator is not None else seed,
            idle_noise=options.dynamical_decoupling.enable,
            scheduler_timing=timing,
            stretch_values=stretches,
            simulator=settings,
        )
        precision = tree.get("precision")
        if precision is not None and not (finite(precision) and precision > 0):
            raise unreadable("precision", f"{precision!r} isn't a number greater than 0.")
        posted = read_estimator_pubs(tree.get("pubs"), budget)
        explicit = [pub.precision if pub.precision is not None else precision for pub in posted]
        pubs = [
            (_pub(pub, number, context), _recipe(resolved, asked, number, context))
            for number, (pub, asked) in enumerate(zip(posted, explicit, strict=True))
        ]
        if missing := _missing(pubs):
            raise bad_option(
                "resilience.layer_noise_model",
                f"the noise of {missing} layers isn't known, and learning it in the job isn't supported yet.",
                "Give a layer_noise_model that covers all layers.",
            )
        rng = np.random.default_rng(execution.seed)
        items, plan = plan_job(pubs, resolved.readout_sizes([recipe.sizes for _, recipe in pubs]), rng)
        metadata = resolved.metadata()
        if resolved.noises:
            metadata["resilience"]["layer_noise_model"] = [noise.to_tree() for noise in resolved.noises]
        state = states.pack(
            {
                "plan": plan.to_tree(),
                "pubs": [
                    {
                        "target_precision": _target(resolved, asked),
                        "circuit_metadata": pub.circuit.metadata or {},
                    }
                    for pub, asked in zip(posted, explicit, strict=True)
                ],
                "metadata": metadata,
                "client": tree.get("support_qiskit", True) is not False,
            }
        )
        return Prepared(unit_of(items, execution, context), state)

    def finalize(self, state: bytes, outcome: Outcome, context: ProgramContext) -> Result:
        """Estimate, and write the result for the client's decoder or as plain JSON."""
        kept = states.unpack(state)
        plan = JobPlan.from_tree(kept["plan"])
        results = []
        for pub, estimates, facts in zip(
            plan.pubs, evaluate_job(plan, outcome.items), kept["pubs"], strict=True
        ):
            results.append(
                (
                    pub.measurement.shape,
                    estimates.fields,
                    {
                        "shots": pub.metadata["shots"],
                        "target_precision": facts["target_precision"],
                        "circuit_metadata": facts["circuit_metadata"],
                        "num_randomizations": pub.metadata["num_randomizations"],
                        "resilience": pub.metadata["resilience"],
                    },
                )
            )
        write = _for_client if kept["client"] else _plain
        return Result(write(results, kept["metadata"]))


PubResults = list[tuple[tuple[int, ...], dict[str, NDArray[np.float64]], dict[str, Any]]]


def _resolved(tree: dict[str, Any], budget: Budget) -> Resolved:
    from ibm_quantum_schemas.estimator.version_0_1.options import OptionsModel

    given = tree.get("options") or {}
    noises = None
    if isinstance(given, dict) and isinstance(given.get("resilience"), dict):
        # Circuits and arrays stand in it: it is read by rules of its own.
        noises = given["resilience"].get("layer_noise_model")
        rest = {key: value for key, value in given["resilience"].items() if key != "layer_noise_model"}
        given = {**given, "resilience": rest}
    options = validated(OptionsModel, read_options(given, budget))
    level = tree.get("resilience_level")
    if level is None:
        level = 1
    if type(level) is not int or not 0 <= level <= 2:
        raise bad_option("resilience_level", f"{level!r} isn't 0, 1 or 2.")
    known = (
        () if noises is None else read_layer_noises(noises, budget, "options.resilience.layer_noise_model")
    )
    return resolve(options, level, known)


def _pub(pub: EstimatorPub, number: int, context: ProgramContext) -> Pub:
    from qiskit.primitives.containers.observables_array import ObservablesArray

    field = f"pubs[{number}]"
    found = survey(pub.circuit, field)
    check_isa(found, context, field)
    return Pub(pub.circuit, ObservablesArray(pub.observables.nested()), pub.values)


def _recipe(resolved: Resolved, asked: float | None, number: int, context: ProgramContext) -> Recipe:
    decouple = None
    if resolved.options.dynamical_decoupling.enable:
        decouple = partial(
            decoupled,
            options=resolved.options.dynamical_decoupling,
            context=context,
            field=f"pubs[{number}]",
        )
    return resolved.recipe(asked, decouple, context.limits.max_executions)


def _missing(pubs: list[tuple[Pub, Recipe]]) -> int:
    return len(needed_layers(pubs)) if any(recipe.injects for _, recipe in pubs) else 0


def _target(resolved: Resolved, asked: float | None) -> float:
    if asked is None and resolved.options.default_shots is not None:
        return 1.0 / math.sqrt(resolved.options.default_shots)
    return float(asked or resolved.options.default_precision)


def _for_client(results: PubResults, metadata: dict[str, Any]) -> bytes:
    from qiskit_ibm_runtime.json import RuntimeEncoder

    from ketline.programs.mitigation.layers import LayerNoise

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
