"""The interface of a program, and how programs are found.

A *program* is what a job computes. It is a class registered under the entry point group ``ketline.programs``,
by the program id that clients post::

    [project.entry-points."ketline.programs"]
    sampler = "ketline.programs.sampler:Sampler"

The journey of a job, as its caller (a compute worker) sees it::

    params = open_params(raw, context.limits)  # the bytes of "params" as posted
    step = program("sampler").prepare(params, context)
    # -> Prepared: run step.unit on the QPU and keep step.state
    step = program("sampler").finalize(step.state, outcome, context)
    # -> Result: step.body is what GET /jobs/{id}/results answers; or Prepared: another round

``state`` is opaque, holds no code (JSON and arrays) and may be written to a file. Everything here may raise
`ketline.units.errors.JobError`, which is the job's own fault; anything else is a fault of ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from ketline.programs.failures import unreadable
from ketline.programs.recurring import Memory

if TYPE_CHECKING:
    from ketline.units.device import Device
    from ketline.units.work import Outcome, WorkUnit

GROUP = "ketline.programs"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a job may ask for (``modes.md`` 1.4). Counts are per job unless said otherwise."""

    max_decompressed_bytes: int = 2_000_000_000
    """Sum of all compressed parts of a payload, unpacked."""
    max_depth: int = 200
    """Nesting of the JSON."""
    max_executions: int = 10_000_000
    """Circuits after broadcasting times shots."""
    max_instructions_per_qubit: int = 26_800_000
    """Weighted low-level instructions on any one qubit."""
    max_rz_gates: int = 30_000_000
    """Per circuit."""
    max_sx_gates: int = 20_000_000
    """Per circuit."""
    max_two_qubit_gates: int = 5_000_000
    """Per circuit."""
    max_result_bytes: int = 4_000_000_000
    """Size of the arrays of a result, before compression."""


@dataclass(frozen=True, slots=True)
class Params:
    """A job's ``params``: the bytes as posted and the JSON object in them."""

    raw: bytes
    tree: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ProgramContext:
    """Where a job runs and under which rules. The same at `Program.prepare` and every `Program.finalize`.

    ``simulator``: the backend is served as a simulator (ideal, no ISA check, simulator options allowed).
    ``mock``: a dry run; results are random data of the right shape. ``in_session``: the job belongs to a
    dedicated session. ``cache_folder``: a folder of this session or batch alone, in which learned noise is
    kept for its later jobs; None where nothing may be kept. ``memory`` is what the tenant's earlier jobs left
    prepared in this process; a memory of the job's own where nothing may be kept.
    """

    device: Device
    limits: Limits = field(default_factory=Limits)
    simulator: bool = False
    mock: bool = False
    in_session: bool = False
    cache_folder: Path | None = None
    memory: Memory = field(default_factory=Memory, compare=False)

    @property
    def device_key(self) -> tuple[object, ...]:
        """What tells this device, as it is now, from others; part of the keys of what depends on it."""
        return (self.device.name, self.device.calibration_id, self.simulator)


@dataclass(slots=True)
class Prepared:
    """A round on the QPU: what to run, and what the program needs to know again afterwards.

    ``more`` says that another round follows, whatever comes out of this one. Then the program can `finalize`
    such a state with an empty outcome in a dry run (``context.mock``), so that a job's rounds can be counted
    before it has run (`ketline.programs.coming`).
    """

    unit: WorkUnit
    state: bytes
    more: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """The end: the body of ``GET /jobs/{id}/results``, which is JSON text in UTF-8.

    ``calibrate`` asks the service for a calibration of the QPU after this job.
    """

    body: bytes
    calibrate: bool = False


class Program(Protocol):
    """What an entry point of the group ``ketline.programs`` names: a class made without arguments."""

    def prepare(self, params: Params, context: ProgramContext) -> Prepared:
        """Read, check and expand a job.

        Raises:
            JobError: the job can't be done; the message names field and value.
        """
        ...

    def finalize(self, state: bytes, outcome: Outcome, context: ProgramContext) -> Result | Prepared:
        """Turn what came out into the result, or into another round.

        Raises:
            JobError: the outcome can't be used, by the job's own fault.
        """
        ...


def programs() -> dict[str, EntryPoint]:
    """The programs that are installed, by program id. Nothing is imported."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def program(program_id: str) -> Program:
    """The program of this id.

    Raises:
        JobError: there is none.
    """
    found = programs()
    if program_id not in found:
        raise unreadable(
            "program_id",
            f"there is no program {program_id!r}; installed are {', '.join(sorted(found))}.",
            "Use a client whose program is installed here.",
        )
    made: Program = found[program_id].load()()
    return made


def open_params(raw: bytes, limits: Limits) -> Params:
    """Read the JSON of ``params``.

    Raises:
        JobError: it isn't a JSON object, or nested too deeply.
    """
    try:
        tree = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise unreadable("params", f"not JSON: {error}", "Post a JSON object.") from None
    if not isinstance(tree, dict):
        raise unreadable("params", f"{type(tree).__name__} instead of an object.", "Post a JSON object.")
    check_depth(tree, limits.max_depth, "params")
    return Params(raw, tree)


def check_depth(tree: dict[str, Any], max_depth: int, field: str) -> None:
    """Refuse what is nested so deeply that walking through it would fail.

    Raises:
        JobError: it is.
    """
    level: list[Any] = [tree]
    for _ in range(max_depth):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return
    raise unreadable(field, f"nested more than {max_depth} deep.", "Send a flatter structure.")


def size_of(shape: tuple[int, ...]) -> int:
    """Number of elements of an array of this shape, as a Python integer that can't overflow."""
    return math.prod(shape)
