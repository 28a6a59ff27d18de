"""From items to a unit of work, with every check on the way."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ketline.programs.check import (
    GateLimits,
    check_executions,
    check_result_size,
    check_rzz,
    survey,
    surveyed,
)
from ketline.programs.items import Item, expand, registers
from ketline.units.packing import Items
from ketline.units.work import WorkUnit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ketline.programs.base import ProgramContext
    from ketline.units.work import MeasLevel, WorkItem


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


class Assembly:
    """Puts a job's items into a unit of work one by one, with every check on the way.

    So the caller may make items one by one too: of each no more is kept than is run, and of a large job's
    circuits only their packed form (`ketline.units.packing`).

    ``limit_executions``: the limit on circuits times shots applies.
    """

    def __init__(
        self, execution: Execution, context: ProgramContext, *, limit_executions: bool = False
    ) -> None:
        self._execution = execution
        self._context = context
        self._limit_executions = limit_executions
        self._rng = np.random.default_rng(execution.seed)
        self._items = Items()
        self._gates = GateLimits(context)
        self._executions = 0
        self._result_bytes = 0

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: Item, field: str) -> dict[str, NDArray[Any]]:
        """Check an item, which ``field`` names in messages, and draw from its samplex.

        Returns what it drew besides parameters. Once a limit is exceeded nothing more is drawn; `unit` tells.

        Raises:
            JobError: the item isn't in the device's instruction set, or can't be drawn from.
        """
        sets = math.prod(item.shape)
        self._executions += sets * item.shots
        self._result_bytes += bytes_of(item, sets, self._execution.meas_level)
        self._gates.add(surveyed(item.circuit, item.key, self._context, field), sets)
        if self._beyond_size():
            return {}
        drawn = expand(item, self._rng, field)
        self._keep(drawn.work)
        return drawn.extras

    def append(self, item: WorkItem) -> None:
        """Add a circuit that was made here.

        Raises:
            JobError: an angle that comes from parameters isn't in the device's range.
        """
        sets = len(item.parameter_values)
        self._result_bytes += sets * item.shots * sum(-(-n // 8) for n in registers(item.circuit).values())
        self._gates.add(survey(item.circuit, f"circuit {len(self._items)}"), sets)
        self._keep(item)

    def _keep(self, item: WorkItem) -> None:
        check_rzz(item.circuit, item.parameter_values, self._context)
        self._items.append(item)

    def _beyond_size(self) -> bool:
        limits = self._context.limits
        beyond = self._limit_executions and self._executions > limits.max_executions
        return beyond or self._result_bytes > limits.max_result_bytes

    def unit(self) -> WorkUnit:
        """The unit of work.

        Raises:
            JobError: what the items come to exceeds a limit.
        """
        execution, context = self._execution, self._context
        if self._limit_executions:
            check_executions(self._executions, context)
        check_result_size(self._result_bytes, context)
        self._gates.check()
        return WorkUnit(
            items=self._items,
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


def unit_of(items: Iterable[WorkItem], execution: Execution, context: ProgramContext) -> WorkUnit:
    """Put circuits that were made here into a unit of work.

    Raises:
        JobError: what they come to exceeds a limit.
    """
    assembly = Assembly(execution, context)
    for item in items:
        assembly.append(item)
    return assembly.unit()


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
