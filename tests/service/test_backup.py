"""A copy that was taken while the server worked is a server's data as good as the first."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest
from centre_lab import MANILA, PACED, Centre, bell, centre

from ketline.config import Settings, StoreSettings
from ketline.core.model import JobStatus
from ketline.errors import INVALID_REQUEST, KetlineError
from ketline.service.backup import back_up
from ketline.service.data import DataFolder


def test_a_copy_taken_at_work_goes_on_where_the_server_was(tmp_path: Path) -> None:
    async def scenario() -> None:
        large = b"{" + b" " * 300_000 + bell()[1:]
        async with centre(tmp_path / "live", MANILA, PACED) as live:
            ended = await live.end(await live.submit())
            result = await live.result(ended)
            waiting = await live.submit("ket_paced", params=bell(shots=4_000))
            first = await live.submit("ket_paced", params=large)
            flood = [asyncio.ensure_future(live.submit()) for _ in range(30)]
            made = await asyncio.to_thread(back_up, live.data, Settings(), tmp_path / "copy")
            for submitted in await asyncio.gather(*flood):
                await live.end(submitted)
            counted = live.rows("SELECT count(*) FROM jobs")[0][0]
        assert 3 <= made.jobs <= counted
        assert made.files >= made.jobs + 1
        async with centre(tmp_path / "copy", MANILA, PACED) as restored:
            assert await restored.result(ended) == result
            again = await restored.runtime.job(restored.me, ended.job_id)
            assert again.usage_seconds == ended.usage_seconds
            for unfinished in (waiting, first):
                job = await restored.end(unfinished)
                assert job.status is JobStatus.COMPLETED, job
            kept = b"".join([piece async for piece in await _params(restored, first.job_id)])
            assert kept == large
            named = restored.rows("SELECT count(*) FROM jobs")[0][0]
            assert named == made.jobs

    asyncio.run(scenario())
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "copy").iterdir()}
    assert modes["ketline.db"] == modes["administrator.key"] == 0o600
    assert modes["files"] == 0o700


async def _params(running: Centre, job_id: str):
    return await running.runtime.job_params(running.me, job_id)


@pytest.mark.parametrize("setting", ["database_url", "payload_url"])
def test_what_lies_elsewhere_is_refused_by_name(tmp_path: Path, setting: str) -> None:
    settings = Settings(store=StoreSettings(**{setting: "memory://elsewhere"}))
    with pytest.raises(KetlineError, match=f"store.{setting}") as caught:
        back_up(DataFolder(tmp_path / "live"), settings, tmp_path / "copy")
    assert caught.value.kind is INVALID_REQUEST
    assert not (tmp_path / "copy").exists()


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    with pytest.raises(KetlineError, match="exists already"):
        back_up(DataFolder(tmp_path / "live"), Settings(), tmp_path / "copy")
