"""The small parts: the clock, ids, and what happens when nothing can be written or the folder is taken."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from centre_lab import Centre, centre, play

from ketline.config import ConfigError, QpuSettings, Settings
from ketline.errors import STORAGE_FAILED, KetlineError
from ketline.service import runtime as live
from ketline.service.clock import Clock
from ketline.service.ids import JobIds, crn
from ketline.store.lock import FolderTaken


def test_the_clock_does_not_follow_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    before = clock.now()
    assert before == pytest.approx(time.time(), abs=1.0)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert before <= clock.now() < before + 1.0
    ahead = before + 3_600.0
    assert Clock(not_before=ahead).now() >= ahead


def test_job_ids_are_short_unique_and_sorted_by_time() -> None:
    maker, other = JobIds(), JobIds()
    made = [maker.make(1_700_000_000.0 + second) for second in range(1_000)]
    assert sorted(made) == made
    assert all(
        len(job_id) == 20 and set(job_id) <= set("0123456789abcdefghijklmnopqrstuv") for job_id in made
    )
    same = {maker.make(5.0) for _ in range(1_000)} | {other.make(5.0) for _ in range(1_000)}
    assert len(same) == 2_000
    assert crn("eu-de", "acme", "guid").startswith("crn:v1:bluemix:public:quantum-computing:eu-de:a/")


def test_a_second_server_is_refused(tmp_path: Path) -> None:
    async def scenario(_: Centre) -> None:
        with pytest.raises(FolderTaken, match="another Ketline server"):
            await live.start(Settings(), tmp_path)

    play(tmp_path, scenario)


def test_twins_of_one_name_are_refused(tmp_path: Path) -> None:
    async def never(c: Centre) -> None:
        raise AssertionError(c)

    with pytest.raises(ConfigError, match=r"dry-run twins.*'mock_manila'"):
        play(
            tmp_path,
            never,
            QpuSettings(name="a_manila", device="manila"),
            QpuSettings(name="b_manila", device="manila"),
        )
    with pytest.raises(ConfigError, match=r"ket_x.*atlantis"):
        play(tmp_path, never, QpuSettings(name="ket_x", device="atlantis"))


def test_a_payload_that_can_not_be_written_leaves_nothing(tmp_path: Path) -> None:
    async def scenario(c: Centre) -> None:
        payloads = tmp_path / "files" / "payloads"
        payloads.write_bytes(b"in the way")
        with pytest.raises(KetlineError) as caught:
            await c.submit()
        assert caught.value.kind is STORAGE_FAILED
        assert c.rows("SELECT count(*) FROM jobs") == [(0,)]
        assert not c.runtime._house.engine.scheduler.jobs
        payloads.unlink()
        await c.end(await c.submit())

    play(tmp_path, scenario)


_FAILING = """
import asyncio, pathlib, sys
sys.path.insert(0, sys.argv[2])
from centre_lab import centre, MANILA

async def main():
    async with centre(pathlib.Path(sys.argv[1]), MANILA) as c:
        house = c.runtime._house
        house.engine.changes.call(__import__("sqlalchemy").text("INSERT INTO nowhere VALUES (1)"))
        await c.submit()
        print("acknowledged", flush=True)

asyncio.run(main())
"""


def test_a_failed_commit_stops_the_process_at_once(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _FAILING, str(tmp_path), str(Path(__file__).parent)],
        check=False, capture_output=True, text=True, timeout=90,
    )  # fmt: skip
    assert ended.returncode == live.FATAL_STATUS
    assert "the store can't be written" in ended.stderr
    assert "nowhere" in ended.stderr
    assert "acknowledged" not in ended.stdout

    async def again() -> None:
        async with centre(tmp_path) as c:
            assert c.rows("SELECT count(*) FROM jobs") == [(0,)]
            await c.end(await c.submit())

    asyncio.run(again())


def test_stopping_leaves_no_process_behind(tmp_path: Path) -> None:
    pids: list[int] = []

    async def scenario(c: Centre) -> None:
        await c.end(await c.submit())
        house = c.runtime._house
        pids.extend(worker.child.pid or 0 for worker in house.pool._workers)
        pids.append(house.work.machines.facts["ket_manila"]["pid"])

    play(tmp_path, scenario)
    assert len(pids) >= 3
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
