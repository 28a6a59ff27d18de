"""Files that a crash left without a job are deleted at the next start, and no others."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from centre_lab import Centre, play

from ketline.core.model import JobStatus
from ketline.service import orphans
from ketline.service.ids import JobIds
from ketline.store.files import FileKind, Files


def test_an_id_tells_when_it_was_made() -> None:
    assert JobIds.made_at(JobIds().make(1_790_000_000.7)) == 1_790_000_000
    assert JobIds.made_at("notes.txt") is None
    assert JobIds.made_at("Z" * 20) is None


def test_what_a_crash_left_is_deleted_at_the_next_start(tmp_path: Path) -> None:
    kept: list[str] = []

    async def before(c: Centre) -> None:
        done = await c.end(await c.submit())
        assert done.status is JobStatus.COMPLETED
        kept.append(done.job_id)

    def left_behind() -> list[Path]:
        files = Files(str(tmp_path / "files"))
        paths = []
        for kind in FileKind:
            path = files.local_path(kind, JobIds().make(time.time() - 60))
            assert path is not None
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"{}")
            paths.append(path)
        unfinished = files.local_path(FileKind.RESULT, kept[0])
        assert unfinished is not None
        paths.append(unfinished.with_name(f"{kept[0]}.part"))
        paths[-1].write_bytes(b"half")
        strange = tmp_path / "files" / "payloads" / "xx" / "README"
        strange.parent.mkdir(exist_ok=True)
        strange.write_text("an operator's")
        files.close()
        # What was made in the second of the start isn't looked at: ids tell no more than the second.
        while time.time() < (JobIds.made_at(kept[0]) or 0) + 1:
            time.sleep(0.05)
        return paths

    async def after(c: Centre) -> None:
        for _ in range(500):
            if not any(path.exists() for path in paths):
                break
            await asyncio.sleep(0.01)
        assert [path for path in paths if path.exists()] == []
        assert (tmp_path / "files" / "payloads" / "xx" / "README").exists()
        job = await c.runtime.job(c.me, kept[0])
        assert await c.result(job) is not None
        assert b"".join([piece async for piece in await c.runtime.job_params(c.me, kept[0])])
        # A submission that is on its way has its payload on the disk before anybody knows of its job.
        house = c.runtime._house
        coming = house.job_ids.make(house.clock.now())
        await house.files.put(FileKind.PAYLOAD, coming, b"{}")
        assert await orphans.sweep(house.files, house.store, house.clock.now()) == 0
        assert house.files.local_path(FileKind.PAYLOAD, coming).exists()

    play(tmp_path, before)
    paths = left_behind()
    play(tmp_path, after)
