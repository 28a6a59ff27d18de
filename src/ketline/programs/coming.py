"""What a job will ask of the QPU from one round on, as far as that can be said before the round has run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from ketline.programs.base import Prepared
from ketline.units.work import Outcome

if TYPE_CHECKING:
    from ketline.programs.base import Program, ProgramContext
    from ketline.units.work import WorkUnit


def coming(program: Program, step: Prepared, context: ProgramContext) -> Iterator[WorkUnit]:
    """The unit of a round that is prepared, then those of the rounds that follow it for certain.

    Later rounds are made by the program itself, as in a dry run whose noise learning found a perfect device.
    So they are the least that will come: probabilistic error cancellation takes more randomisations, the
    noisier the device turns out to be.

    Raises:
        JobError: a later round can't be made, whatever comes out of this one.
    """
    yield step.unit
    dry = replace(context, mock=True, cache_folder=None)
    while step.more:
        following = program.finalize(step.state, Outcome([], []), dry)
        if not isinstance(following, Prepared):
            return
        step = following
        step.unit.mock = context.mock
        yield step.unit
