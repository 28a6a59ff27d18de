"""Units that machines may still be busy with for a predecessor of this server.

A machine that goes on by itself has left a note beside its unit (`ketline.qpus.resuming`). The folder with
unit, state and note is carried over into the new server's scratch; when the job is prepared again, it gets
that folder instead, and the machine is asked for what it has.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ketline.qpus.resuming import NOTE, digest, read_note
from ketline.service import tasks
from ketline.units.serial import FormatError, read_unit

_FOLDER = re.compile(r"kept\.(?P<kept>\w+)|(?P<job>\w+)\.\d+")
"""Of a job: one that a predecessor had kept itself, or that of an attempt."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A job's folder, and what was estimated of its unit."""

    folder: Path
    estimate_seconds: float


def carried_over(scratch: Path, fresh: Path) -> dict[str, Kept]:
    """Move the units with notes from a predecessor's folders into a fresh one; by job id."""
    kept: dict[str, Kept] = {}
    for path in sorted(scratch.glob(f"*/*.*/{NOTE}")):
        folder, told = path.parent, read_note(path)
        named = _FOLDER.fullmatch(folder.name)
        if told is None or named is None or not _whole(folder, told["unit"]):
            continue
        job_id = named["kept"] or named["job"]
        target = fresh / f"kept.{job_id}"
        folder.rename(target)
        kept[job_id] = Kept(target, float(told.get("estimate_seconds") or 0.0))
    return kept


def _whole(folder: Path, noted: str) -> bool:
    """Whether the unit is the one that was noted, not that of another round, and can be run from here."""
    unit = folder / tasks.UNIT
    if not (unit.exists() and (folder / tasks.STATE).exists()) or digest(unit) != noted:
        return False
    try:
        read_unit(unit)
    except FormatError:  # by another release
        return False
    return True
