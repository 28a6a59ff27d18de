"""From items to a unit of work, with every check on the way."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ketline.programs.check import (
    check_executions,
    check_limits,
    check_result_size,
    check_rzz,
    survey,
    surveyed,
)
from ketline.programs.items import Item, expand, registers
from ketline.units.work import WorkItem, WorkUnit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ketline.programs.base import ProgramContext
    from ketline.units.work import MeasLevel


@dataclass(slots=True)
class Execution:
    """How items are to be run; the fields mean what those of `WorkUnit` mean."""

    meas_level: MeasLevel = "classified"
    init_qubits: bool = True
    rep_delay_seconds: float | None = None
    seed: int | None = None
    idle_noise: bool = False
    scheduler_timing: bool = False
    stretch_values: bool = False
    allow_approximation: bool = True
    simulator: dict[str, object] = field(default_factory=dict)


def make_unit(
    items: Sequence[Item],
    execution: Execution,
    context: ProgramContext,
    *,
    limit_executions: bool = False,
    fields: Sequence[str] | None = None,
) -> tuple[WorkUnit, list[dict[str, NDArray[Any]]]]:
    """Check items, draw from their samplexes, and put them into a unit of work.

    Returns the unit and what each item drew besides parameters. ``fields`` name the items in messages.

    Raises:
        JobError: an item isn't in the device's instruction set, or a limit is exceeded.
    """
    names = fields or [f"item {number}" for number in range(len(items))]
    sets = [math.prod(item.shape) for item in items]
    if limit_executions:
        check_executions(sum(n * item.shots for n, item in zip(sets, items, strict=True)), context)
    check_result_size(
        (bytes_of(item, n, execution.meas_level) for n, item in zip(sets, items, strict=True)), context
    )
    surveys = [
        surveyed(item.circuit, item.key, context, name) for item, name in zip(items, names, strict=True)
    ]
    check_limits(surveys, sets, context)
    rng = np.random.default_rng(execution.seed)
    drawn = [expand(item, rng, name) for item, name in zip(items, names, strict=True)]
    return _unit([one.work for one in drawn], execution, context), [one.extras for one in drawn]


def unit_of(items: list[WorkItem], execution: Execution, context: ProgramContext) -> WorkUnit:
    """Put circuits that were made here into a unit of work.

    Raises:
        JobError: what they come to exceeds a limit.
    """
    sets = [len(item.parameter_values) for item in items]
    sizes = (
        n * item.shots * sum(-(-size // 8) for size in registers(item.circuit).values())
        for n, item in zip(sets, items, strict=True)
    )
    check_result_size(sizes, context)
    check_limits([survey(item.circuit, f"circuit {n}") for n, item in enumerate(items)], sets, context)
    return _unit(items, execution, context)


def _unit(items: list[WorkItem], execution: Execution, context: ProgramContext) -> WorkUnit:
    for item in items:
        check_rzz(item.circuit, item.parameter_values, context)
    return WorkUnit(
        items=items,
        meas_level=execution.meas_level,
        init_qubits=execution.init_qubits,
        rep_delay_seconds=execution.rep_delay_seconds,
        seed=execution.seed,
        idle_noise=execution.idle_noise,
        mock=context.mock,
        scheduler_timing=execution.scheduler_timing,
        stretch_values=execution.stretch_values,
        allow_approximation=execution.allow_approximation,
        simulator=execution.simulator,
    )


def bytes_of(item: Item, sets: int, level: MeasLevel) -> int:
    """How many bytes an item's parameter sets and measured data take."""
    bits = list(registers(item.circuit).values())
    per_set = 8 * item.circuit.num_parameters
    if level in {"classified", "both"}:
        per_set += item.shots * sum(-(-n // 8) for n in bits)
    if level in {"kerneled", "both"}:
        per_set += 16 * item.shots * sum(bits)
    if level == "avg_kerneled":
        per_set += 16 * sum(bits)
    return sets * per_set
