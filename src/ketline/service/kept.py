"""Units that machines may still be busy with for a predecessor of this server.

A machine that goes on by itself has left a note beside its unit (`ketline.qpus.resuming`). The folder with
unit, state and note is carried over into the new server's scratch; when the job is prepared again, it gets
that folder instead, and the machine is asked for what it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ketline.qpus.resuming import NOTE, digest, read_note
from ketline.service import tasks

_KEPT = "kept"


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
        unit = folder / tasks.UNIT
        if told is None or not (unit.exists() and (folder / tasks.STATE).exists()):
            continue
        if told["unit"] != digest(unit):
            # Of an earlier round than the unit, which the machine hasn't seen yet.
            continue
        # A predecessor's own folder is called after the job and the attempt, or is one that it had kept.
        before, _, after = folder.name.rpartition(".")
        job_id = after if before == _KEPT else before
        target = fresh / f"{_KEPT}.{job_id}"
        folder.rename(target)
        kept[job_id] = Kept(target, float(told.get("estimate_seconds") or 0.0))
    return kept
