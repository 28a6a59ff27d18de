"""The page of options: every option that the client can post, what it does here, and the tests that show it.

``python tests/programs/options_page.py`` writes docs/reference/options.md. `test_options_page` compares the
page with this table, the table with the client's own models, and the tests it names with those there are.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import get_args

from inputs_table import INPUTS
from pydantic import BaseModel

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "reference" / "options.md"

_WHOLE = ("simulator.noise_model", "resilience.layer_noise_model")
"""Options that hold a structure of their own."""

_M = "mitigation/test_mitigation_"


@dataclass(frozen=True)
class Row:
    """An option, its state, and the tests (file and name below ``tests/``) that would fail without it."""

    option: str
    state: str
    tests: tuple[str, ...]


def _row(option: str, state: str, *tests: str) -> Row:
    return Row(option, state, tests)


_DECOUPLING = (
    _row(
        "dynamical_decoupling.enable",
        "done; the noise of idle qubits is then simulated as scheduled",
        f"programs/{_M}decoupling.py::test_a_qubit_keeps_its_phase_under_slow_noise",
        "programs/test_emulated.py::test_decoupling_runs_with_the_noise_of_idle_qubits",
        "qpus/test_idle.py::test_echoes_undo_slow_dephasing_and_nothing_else",
    ),
    _row(
        "dynamical_decoupling.sequence_type",
        "done: XX, XpXm, XY4",
        f"programs/{_M}decoupling.py::test_a_qubit_keeps_its_phase_under_slow_noise",
        f"programs/{_M}decoupling.py::test_a_decoupled_circuit_does_the_same",
    ),
    _row(
        "dynamical_decoupling.extra_slack_distribution",
        "done: middle, edges",
        f"programs/{_M}decoupling.py::test_the_schedule_follows_the_method_and_the_slack",
    ),
    _row(
        "dynamical_decoupling.scheduling_method",
        "done: alap, asap",
        f"programs/{_M}decoupling.py::test_the_schedule_follows_the_method_and_the_slack",
    ),
    _row(
        "dynamical_decoupling.skip_reset_qubits",
        "done",
        f"programs/{_M}decoupling.py::test_qubits_still_in_their_ground_state_are_left_alone_if_asked_to",
    ),
)

_TWIRLING = (
    _row(
        "twirling.enable_gates",
        "done; refused for fractional two-qubit gates and dynamic circuits",
        f"programs/{_M}twirling.py::test_gate_twirling_turns_a_coherent_error_into_a_stochastic_one",
        f"programs/{_M}twirling.py::test_what_cannot_be_twirled_is_refused_by_name",
    ),
    _row(
        "twirling.enable_measure",
        "done; flips are undone in the result",
        f"programs/{_M}twirling.py::test_measurement_twirling_makes_the_readout_error_even",
    ),
    _row(
        "twirling.num_randomizations",
        "done, `auto` too",
        f"programs/{_M}twirling.py::test_sizes_follow_the_documented_rule",
    ),
    _row(
        "twirling.shots_per_randomization",
        "done, `auto` too",
        f"programs/{_M}twirling.py::test_sizes_follow_the_documented_rule",
    ),
    _row(
        "twirling.strategy",
        "done: active, active-accum, active-circuit, all",
        f"programs/{_M}twirling.py::test_strategies_twirl_the_qubits_they_say",
        f"programs/{_M}twirling.py::test_every_randomisation_at_every_point_is_the_same_circuit",
        f"programs/{_M}estimates.py::test_observables_on_some_of_the_twirled_qubits",
    ),
)

_EXECUTION = (
    _row(
        "execution.init_qubits",
        "done; without, a shot starts where the last one ended",
        "qpus/test_chain.py::test_a_flip_alternates",
    ),
    _row(
        "execution.rep_delay",
        "done, within the device's range",
        "programs/test_sampler.py::test_what_is_wrong_is_named",
        "qpus/test_levels.py::test_pace_holds_the_qpu_as_long_as_the_device_would",
    ),
)

_SIMULATOR = (
    _row(
        "simulator.noise_model",
        "done, on simulators and QPUs alike",
        "programs/test_sampler.py::test_simulator_options_reach_the_unit",
        "qpus/test_emulator.py::test_a_given_noise_model_replaces_the_devices",
    ),
    _row(
        "simulator.seed_simulator",
        "done",
        "programs/test_sampler.py::test_seed_makes_a_twirled_job_repeatable",
        "qpus/test_emulator.py::test_the_same_seed_gives_the_same_shots",
    ),
    _row(
        "simulator.coupling_map",
        "checked against the circuits",
        "qpus/test_emulator.py::test_simulator_options_are_kept_or_refused",
    ),
    _row(
        "simulator.basis_gates",
        "checked against the circuits",
        "qpus/test_emulator.py::test_simulator_options_are_kept_or_refused",
    ),
)

TABLE: dict[str, tuple[str, tuple[Row, ...]]] = {
    "sampler": (
        "sampler.version_0_1",
        (
            _row("default_shots", "done", "programs/test_sampler.py::test_default_shots_metadata_and_spans"),
            *_DECOUPLING,
            *_EXECUTION,
            _row(
                "execution.meas_type",
                "done: classified, kerneled, avg_kerneled",
                "programs/test_sampler.py::test_points_instead_of_bits",
                "qpus/test_levels.py::test_points_are_classified_with_the_readout_error",
            ),
            *_TWIRLING,
            *_SIMULATOR,
            _row(
                "experimental",
                "`execution.scheduler_timing`, `.stretch_values`, `.allow_approximation`; others are refused",
                "programs/test_sampler.py::test_what_is_wrong_is_named",
            ),
        ),
    ),
    "estimator": (
        "estimator.version_0_1",
        (
            _row(
                "default_precision",
                "done",
                "programs/test_estimator.py::test_precision_may_be_given_anywhere",
            ),
            _row("default_shots", "done", "programs/test_estimator.py::test_precision_may_be_given_anywhere"),
            _row("seed_estimator", "done", "programs/test_estimator.py::test_seeded_jobs_are_prepared_alike"),
            *_DECOUPLING,
            *_EXECUTION,
            *_TWIRLING,
            *_SIMULATOR,
            _row(
                "resilience.measure_mitigation",
                "done (TREX); projectors are corrected as sums of Paulis",
                f"programs/{_M}estimates.py::test_trex_removes_the_bias_of_readout",
                f"programs/{_M}estimates.py::test_standard_errors_cover_the_truth_as_often_as_they_claim",
                "programs/test_estimator.py::test_what_can_be_observed",
            ),
            _row(
                "resilience.measure_noise_learning.num_randomizations",
                "done",
                "programs/test_estimator.py::test_readout_mitigation_removes_the_bias",
            ),
            _row(
                "resilience.measure_noise_learning.shots_per_randomization",
                "done, `auto` too",
                "programs/test_estimator.py::test_readout_mitigation_removes_the_bias",
            ),
            _row(
                "resilience.zne_mitigation",
                "done; refused for fractional two-qubit gates and dynamic circuits",
                f"programs/{_M}estimates.py::test_zne_reduces_the_bias_and_reports_a_larger_error",
                "programs/test_estimator.py::test_extrapolation_reduces_the_bias_and_costs_precision",
            ),
            _row(
                "resilience.zne.amplifier",
                (
                    "done: gate_folding, gate_folding_front, gate_folding_back, pea (injected Paulis are "
                    "rare: where noise is weak, `auto` randomizations may see too little of their spread)"
                ),
                f"programs/{_M}extrapolation.py::test_folding_multiplies_the_gates_and_keeps_the_circuit",
                f"programs/{_M}extrapolation.py::test_the_method_says_which_gates_are_folded",
                f"programs/{_M}estimates.py::test_pea_amplifies_by_the_factor_that_it_claims",
            ),
            _row(
                "resilience.zne.noise_factors",
                "done, any number of at least 1",
                f"programs/{_M}extrapolation.py::test_folding_multiplies_the_gates_and_keeps_the_circuit",
            ),
            _row(
                "resilience.zne.extrapolator",
                "done: exponential, double_exponential, linear, polynomial_degree_1 to _7, fallback, lists",
                f"programs/{_M}extrapolation.py::test_fits_and_choices_are_those_of_the_client",
                f"programs/{_M}extrapolation.py::test_a_model_finds_what_it_models_and_its_gradient_is_one",
                f"programs/{_M}extrapolation.py::test_errors_are_as_large_as_the_scatter",
            ),
            _row(
                "resilience.zne.extrapolated_noise_factors",
                "done",
                f"programs/{_M}extrapolation.py::test_fits_and_choices_are_those_of_the_client",
                f"programs/{_M}estimates.py::test_zne_reduces_the_bias_and_reports_a_larger_error",
            ),
            _row(
                "resilience.pec_mitigation",
                "done; layers whose noise isn't known are learned first",
                f"programs/{_M}estimates.py::test_pec_is_unbiased_at_the_predicted_overhead",
                "programs/test_estimator.py::test_cancellation_learns_first_and_is_unbiased",
            ),
            _row(
                "resilience.pec.max_overhead",
                "done",
                f"programs/{_M}estimates.py::test_the_overhead_is_limited_as_asked",
            ),
            _row(
                "resilience.pec.noise_gain",
                "done, `auto` too",
                f"programs/{_M}estimates.py::test_noise_gain_leaves_that_share_of_the_noise",
            ),
            _row(
                "resilience.layer_noise_learning.max_layers_to_learn",
                "done",
                f"programs/{_M}learning.py::test_neighbours_are_learned_together_and_layers_beyond_the_limit_are_not",
                f"programs/{_M}learning.py::test_layers_are_found_and_ranked_as_the_client_says",
            ),
            _row(
                "resilience.layer_noise_learning.shots_per_randomization",
                "done",
                f"programs/{_M}learning.py::test_neighbours_are_learned_together_and_layers_beyond_the_limit_are_not",
            ),
            _row(
                "resilience.layer_noise_learning.num_randomizations",
                "done",
                f"programs/{_M}learning.py::test_neighbours_are_learned_together_and_layers_beyond_the_limit_are_not",
            ),
            _row(
                "resilience.layer_noise_learning.layer_pair_depths",
                "done",
                f"programs/{_M}learning.py::test_learned_noise_is_the_noise_that_is_there",
            ),
            _row(
                "resilience.layer_noise_model",
                "done; layers that it doesn't name count as noiseless",
                f"programs/{_M}learning.py::test_given_noise_finds_its_layer_whatever_the_order_of_its_qubits",
                f"programs/{_M}learning.py::test_noise_beyond_the_twirled_qubits_is_refused",
            ),
            _row(
                "experimental",
                "`execution.allow_approximation`; others are refused",
                "programs/test_estimator.py::test_what_is_wrong_is_named",
            ),
        ),
    ),
    "executor": (
        "executor.version_2_0",
        (
            _row("init_qubits", "done", "qpus/test_chain.py::test_a_flip_alternates"),
            _row(
                "rep_delay",
                "done, within the device's range",
                "programs/test_executor.py::test_what_is_wrong_is_named",
            ),
            _row(
                "scheduler_timing",
                "done",
                "programs/test_executor.py::test_timing_and_stretches_are_given_on_request",
            ),
            _row(
                "stretch_values",
                "done",
                "programs/test_executor.py::test_timing_and_stretches_are_given_on_request",
            ),
            _row(
                "experimental",
                "`execution.scheduler_timing`, `.stretch_values`, `.allow_approximation`; others are refused",
                "programs/test_executor.py::test_what_is_wrong_is_named",
            ),
        ),
    ),
    "noise-learner (circuits)": (
        "noise_learner_v2.version_0_1",
        (
            *(
                _row(
                    name,
                    "done",
                    f"programs/{_M}learning.py::test_neighbours_are_learned_together_and_layers_beyond_the_limit_are_not",
                )
                for name in ("max_layers_to_learn", "shots_per_randomization", "num_randomizations")
            ),
            _row(
                "layer_pair_depths",
                "done",
                f"programs/{_M}learning.py::test_learned_noise_is_the_noise_that_is_there",
            ),
            _row(
                "twirling_strategy",
                "done: active, active-accum, active-circuit, all",
                f"programs/{_M}twirling.py::test_strategies_twirl_the_qubits_they_say",
                "programs/test_noise_learner.py::test_layers_of_circuits",
            ),
            _row(
                "support_qiskit",
                "true; false is refused",
                "programs/test_noise_learner.py::test_what_is_wrong_with_circuits_is_named",
            ),
            *_SIMULATOR,
            _row(
                "experimental",
                "refused by name",
                "programs/test_noise_learner.py::test_what_is_wrong_with_circuits_is_named",
            ),
        ),
    ),
    "noise-learner (boxes)": (
        "noise_learner_v3.version_0_3",
        (
            *(
                _row(
                    name,
                    "done",
                    "programs/test_noise_learner.py::test_boxes_of_gates_and_measurements",
                    f"programs/{_M}learning.py::test_learned_noise_is_the_noise_that_is_there",
                )
                for name in ("shots_per_randomization", "num_randomizations", "layer_pair_depths")
            ),
            *(
                _row(
                    f"{place}.{name}",
                    "done, with pulses that the device has",
                    "programs/test_noise_learner.py::test_checks_leave_out_shots_in_which_a_qubit_did_not_flip",
                )
                for place in ("bit_flip_checks.pre_circuit", "bit_flip_checks.post_circuit", "post_selection")
                for name in ("enable", "x_pulse_type", "strategy")
            ),
            _row("init_qubits", "done", "qpus/test_chain.py::test_a_flip_alternates"),
            _row(
                "rep_delay",
                "done, within the device's range",
                "programs/test_noise_learner.py::test_what_is_wrong_with_boxes_is_named",
            ),
        ),
    ),
}


def posted_options(module: str) -> set[str]:
    """Every option of a program, by the published model of what clients post."""
    for name in (f"ibm_quantum_schemas.{module}.options", f"ibm_quantum_schemas.{module}"):
        try:
            model = import_module(name).OptionsModel
        except (ImportError, AttributeError):
            continue
        return set(_leaves(model, ""))
    raise LookupError(module)


def _leaves(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        here = prefix + name
        inner = [
            kind
            for kind in (field.annotation, *get_args(field.annotation))
            if isinstance(kind, type) and issubclass(kind, BaseModel)
        ]
        if inner and here not in _WHOLE:
            yield from _leaves(inner[0], here + ".")
        else:
            yield here


def known_tests() -> set[str]:
    """Every test below ``tests/``, as ``folder/file.py::name``."""
    return {
        f"{path.relative_to(TESTS).as_posix()}::{node.name}"
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def render() -> str:
    """The page as Markdown."""
    lines = [
        "# Options",
        "",
        "Every option that the client can post, what comes of it, and the tests that show it. An option that",
        "isn't in this table is refused by its name.",
        "",
        "`python tests/programs/options_page.py` writes this page; a test holds it against the client's own",
        "models and against the tests there are.",
    ]
    for program, (_, rows) in TABLE.items():
        lines += ["", f"## {program}", "", "| Option | State | Shown by |", "|---|---|---|"]
        for row in rows:
            shown = ", ".join(f"`{name.rpartition('/')[2]}`" for name in row.tests)
            lines.append(f"| `{row.option}` | {row.state} | {shown} |")
    lines += ["", "## Circuits and values", "", "| Input | State | Shown by |", "|---|---|---|"]
    for name, state, tests in INPUTS:
        shown = ", ".join(f"`{test.rpartition('/')[2]}`" for test in tests)
        lines.append(f"| {name} | {state} | {shown} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
