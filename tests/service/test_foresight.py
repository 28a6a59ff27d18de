"""What forecasts learn outlives the server that learned it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from pathlib import Path

from centre_lab import Centre, centre

from ketline.config import QpuSettings
from ketline.service.foresight import LEARNED

SLOW = QpuSettings(name="ket_manila", device="manila", pace=0.1, lanes=1, seed=1)
Scores = list[tuple[float, float]]


def rounded(scores: Scores) -> list[list[float]]:
    """As they are written down."""
    return [[round(end, 4) for end in score] for score in scores]


def kept(folder: Path) -> dict[str, dict[str, list[list[float]]]] | None:
    with contextlib.closing(sqlite3.connect(folder / "ketline.db")) as database:
        found = database.execute("SELECT value FROM settings WHERE name = ?", [LEARNED]).fetchone()
    return None if found is None else json.loads(found[0])


async def explain_a_job(running: Centre) -> Scores:
    """Explain the last of a few jobs; returns the scores that corrections come from, when all have ended."""
    foresight = await running.runtime._foresight()
    jobs = [await running.submit() for _ in range(6)]
    told = await running.runtime.explain_job(running.me, jobs[-1].job_id)
    assert told.forecast is not None
    for job in jobs:
        await running.end(job)
    foresight._take_in_news()
    return list(foresight._forecaster.past["finished"].scores)


def test_corrections_learn_from_jobs_that_nobody_asked_about_and_survive_a_restart(tmp_path: Path) -> None:
    async def first_life() -> Scores:
        async with centre(tmp_path, SLOW) as running:
            scores = await explain_a_job(running)
            assert kept(tmp_path) is None  # it is written rarely, and at the end
            return scores

    async def second_life() -> Scores:
        async with centre(tmp_path, SLOW) as running:
            return await explain_a_job(running)

    first = asyncio.run(first_life())
    assert len(first) >= 2  # of the job that was explained, and of others that were before it
    written = kept(tmp_path)
    assert written is not None
    assert rounded(first) == written["finished"]["scores"]
    second = asyncio.run(second_life())
    assert rounded(second)[: len(first)] == written["finished"]["scores"]
    assert len(second) > len(first)
    with contextlib.closing(sqlite3.connect(tmp_path / "ketline.db")) as database:
        damaged = b'{"running": {"scores": ["x"], "missed": 0}, "finished": {}}'
        database.execute("UPDATE settings SET value = ? WHERE name = ?", [damaged, LEARNED])
        database.commit()
    third = asyncio.run(second_life())
    assert 2 <= len(third) < len(second)  # a fresh start, and no failure
    assert kept(tmp_path) is not None
