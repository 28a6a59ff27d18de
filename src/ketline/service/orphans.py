"""Files of jobs that don't exist: a crash came between a file and its job's row, or between row and file.

A job's payload is written before its row, and a deleted job's files go after its row. What a crash leaves of
either is never shown to anybody, but would take room for ever. Only what an earlier process made is looked
at: ids tell when they were made, so a submission that is on its way is never touched.
"""

from __future__ import annotations

import asyncio
import logging

from ketline.service.ids import JobIds
from ketline.store import queries
from ketline.store.files import FileKind, Files
from ketline.store.store import Store

_log = logging.getLogger(__name__)


async def sweep_quietly(files: Files, store: Store, before: float) -> None:
    """`sweep` in the background: that it can't be done harms nobody."""
    try:
        await sweep(files, store, before)
    except Exception:  # noqa: BLE001 - whatever it is, the server has better things to do
        _log.exception("files that belong to no job couldn't be looked for")


async def sweep(files: Files, store: Store, before: float) -> int:
    """Delete the files of jobs that were made before a time and aren't in the store; how many there were."""
    found = 0
    for kind in FileKind:
        names_of = files.stored(kind)
        while (names := await asyncio.to_thread(next, names_of, None)) is not None:
            mine = {name: name.removesuffix(".part") for name in names}
            old = {name: job_id for name, job_id in mine.items() if _made_before(job_id, before)}
            if not old:
                continue
            known = await store.read(queries.known_jobs, sorted(set(old.values())))
            for name, job_id in old.items():
                # A part of a file is what a crash interrupted, whatever became of its job.
                if job_id not in known or name != job_id:
                    await files.discard(kind, name)
                    found += 1
    if found:
        _log.warning("%d files that belong to no job were left behind by a crash; they are deleted", found)
    return found


def _made_before(job_id: str, moment: float) -> bool:
    at = JobIds.made_at(job_id)
    return at is not None and at < int(moment)
