"""Options of a learning experiment, checked before anything is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ketline.programs.check import INIT_WEIGHT, WEIGHTS
from ketline.programs.failures import bad_option, beyond_limit
from ketline.programs.mitigation.learning import LearningOptions

if TYPE_CHECKING:
    from ketline.programs.base import ProgramContext

_BASES = 9
_LEAST_PAIR_WEIGHT = 2 * WEIGHTS["cz"]


def learning_options(
    limit: int | None,
    shots: int,
    randomizations: int,
    depths: Sequence[int],
    context: ProgramContext,
    prefix: str = "",
) -> LearningOptions:
    """Options of a learning experiment; ``prefix`` stands before their names in messages.

    Raises:
        JobError: a number is too small, there are too few depths to see a decay, or one layer's circuits
            alone exceed the limit on instructions.
    """
    for name, value, least in (
        ("max_layers_to_learn", limit, 0),
        ("shots_per_randomization", shots, 1),
        ("num_randomizations", randomizations, 1),
    ):
        if value is not None and value < least:
            raise bad_option(prefix + name, f"{value} is less than {least}.")
    if len(set(depths)) < 2 or min(depths) < 0:
        raise bad_option(
            f"{prefix}layer_pair_depths", f"{list(depths)} aren't two or more different depths of at least 0."
        )
    each = sum(INIT_WEIGHT + WEIGHTS["measure"] + _LEAST_PAIR_WEIGHT * depth for depth in set(depths))
    if (total := _BASES * randomizations * each) > context.limits.max_instructions_per_qubit:
        raise beyond_limit(
            f"options.{prefix}num_randomizations and layer_pair_depths: low-level instructions on a qubit",
            total,
            context.limits.max_instructions_per_qubit,
            "Use fewer randomizations, or smaller depths.",
        )
    return LearningOptions(limit, shots, randomizations, tuple(sorted(set(depths))))
