"""The noise learner in its two forms (``rest.md`` E.5), told apart by ``schema_version``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from ketline.programs import state as states
from ketline.programs.base import Prepared, Result
from ketline.programs.box_learner import BoxLearner
from ketline.programs.check import check_isa, survey
from ketline.programs.failures import bad_option, unreadable
from ketline.programs.learning import learning_options
from ketline.programs.mitigation.layers import unique_layers
from ketline.programs.mitigation.learning import LearningPlan, learned, plan_learning
from ketline.programs.mitigation.twirling import twirl
from ketline.programs.options import validated
from ketline.programs.rounds import Execution, unit_of
from ketline.programs.simulation import simulator_settings
from ketline.programs.wire.circuits import read_circuit
from ketline.programs.wire.fields import a_list, known_keys
from ketline.programs.wire.noise import layer_error
from ketline.programs.wire.unpack import Budget
from ketline.programs.wire.values import read_options

if TYPE_CHECKING:
    from ketline.programs.base import Params, ProgramContext
    from ketline.units.work import Outcome


class NoiseLearner:
    """Program ``noise-learner``: learns the noise of layers of gates (and of measurements, as boxes)."""

    def prepare(self, params: Params, context: ProgramContext) -> Prepared:
        """Find the layers and make the circuits that learn them.

        Raises:
            JobError: the payload can't be read, or what it holds can't be learned.
        """
        if "schema_version" in params.tree:
            return BoxLearner().prepare(params, context)
        return self._prepare_circuits(params, context)

    def finalize(self, state: bytes, outcome: Outcome, context: ProgramContext) -> Result:
        """Fit the noise and write it."""
        kept = states.unpack(state)
        if "version" in kept:
            return BoxLearner().finalize(kept, outcome, context)
        noises = learned(LearningPlan.from_tree(kept["plan"]), None if context.mock else outcome.items)
        from qiskit_ibm_runtime.json import RuntimeEncoder

        # The client's decoder takes this object as it is; wrapped, it would refuse it.
        body = {
            "data": [layer_error(noise) for noise in noises],
            "metadata": {"backend": context.device.name, "input_options": kept["options"]},
        }
        return Result(json.dumps(body, cls=RuntimeEncoder).encode())

    def _prepare_circuits(self, params: Params, context: ProgramContext) -> Prepared:
        from ibm_quantum_schemas.noise_learner_v2.version_0_1.options import OptionsModel

        budget = Budget(context.limits.max_decompressed_bytes)
        tree = known_keys(params.tree, {"circuits", "options", "version"}, "params")
        if tree.get("version", 2) not in (2, None):
            raise unreadable("version", f"{tree['version']!r} isn't supported; 2 is.")
        options = validated(OptionsModel, read_options(tree.get("options") or {}, budget))
        given = tree.get("options") or {}
        limit = options.max_layers_to_learn
        if (
            isinstance(given, dict)
            and "max_layers_to_learn" in given
            and given["max_layers_to_learn"] is None
        ):
            limit = None
        if options.experimental:
            raise bad_option("experimental", f"{next(iter(options.experimental))!r} isn't known.")
        if not options.support_qiskit:
            raise bad_option("support_qiskit", "layers are told as Qiskit's circuits only.")
        learning = learning_options(
            limit,
            options.shots_per_randomization,
            options.num_randomizations,
            options.layer_pair_depths,
            context,
        )
        settings, seed = simulator_settings(options.simulator)
        sites = []
        for number, value in enumerate(a_list(tree.get("circuits"), "circuits")):
            field = f"circuits[{number}]"
            circuit = read_circuit(value, budget, field)
            check_isa(survey(circuit, field), context, field)
            template = twirl(
                circuit,
                gates=True,
                measures=False,
                strategy=options.twirling_strategy,
                noise_sites=True,
                field=field,
            )
            sites.append(template.sites)
        layers = unique_layers(sites)
        rng = np.random.default_rng(seed)
        items, plan = plan_learning(layers, context.device.target, learning, rng)
        told = {
            "max_layers_to_learn": limit,
            "shots_per_randomization": options.shots_per_randomization,
            "num_randomizations": options.num_randomizations,
            "layer_pair_depths": list(options.layer_pair_depths),
            "twirling_strategy": options.twirling_strategy,
        }
        execution = Execution(seed=seed, simulator=settings)
        state = states.pack({"plan": plan.to_tree(), "options": told})
        return Prepared(unit_of(items, execution, context), state)
