"""Calibrations: when they take place, and what they change."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import itertools
import json
from datetime import UTC, datetime
from pathlib import Path

from centre_lab import Centre, play

from ketline.config import QpuSettings
from ketline.core.model import JobStatus
from ketline.core.timers import TimerKind
from ketline.service import backends

RESTLESS = QpuSettings(
    name="ket_manila", device="manila", calibration_interval_seconds=0.3, calibration_seconds=0.05
)


async def events(c: Centre, kind: str, count: int) -> None:
    for _ in range(1_000):
        if len(c.rows("SELECT 1 FROM events WHERE kind = ?", kind)) >= count:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"fewer than {count} of {kind}")


def test_calibrations_come_by_their_cadence_between_jobs(tmp_path: Path) -> None:
    async def scenario(c: Centre) -> None:
        await events(c, "CalibrationEnded", 2)
        jobs = [await c.submit() for _ in range(5)]
        for job in jobs:
            assert (await c.end(job)).status is JobStatus.COMPLETED
        await events(c, "CalibrationEnded", 4)
        # The history holds every state of the device once.
        await c.runtime._house.engine.durable()
        kept = c.rows("SELECT properties FROM calibrations ORDER BY number")
        assert all(before != after for before, after in itertools.pairwise(kept))

    play(tmp_path, scenario, RESTLESS)


def test_a_calibrated_device_is_published_kept_and_there_after_a_restart(tmp_path: Path) -> None:
    quiet = QpuSettings(name="ket_manila", device="manila")
    calibrated_at = datetime.now(UTC)

    async def scenario(c: Centre) -> None:
        backend = c.runtime._house.backends["ket_manila"]
        before = await c.runtime.properties(c.me, "ket_manila", None, None)
        properties = copy.deepcopy(backend.device.properties)
        assert properties is not None
        properties["last_update_date"] = calibrated_at.isoformat()
        properties["qubits"][0][0]["value"] = 123.0
        calibrated = dataclasses.replace(backend.device, properties=properties)
        calibrated.write(backend.device_path.with_name(backend.device_path.name + ".calibrated"))
        c.runtime._house.work.machines.calibrated("ket_manila", True, "")
        await events(c, "CalibrationEnded", 1)
        after = await c.runtime.properties(c.me, "ket_manila", None, None)
        assert json.loads(after) == properties
        twin = json.loads(await c.runtime.properties(c.me, "mock_manila", None, None))
        assert twin["qubits"][0][0]["value"] == 123.0
        assert twin["backend_name"] == "mock_manila"
        earlier = datetime(2025, 1, 1, tzinfo=UTC)
        assert await c.runtime.properties(c.me, "ket_manila", earlier, None) == before
        assert await c.runtime.properties(c.me, "ket_manila", datetime.now(UTC), None) == after
        # Jobs from now on are prepared for the device as it is now.
        assert (await c.end(await c.submit())).status is JobStatus.COMPLETED

    async def look(c: Centre) -> None:
        found = json.loads(await c.runtime.properties(c.me, "ket_manila", None, None))
        assert found["qubits"][0][0]["value"] == 123.0
        assert (
            backends.measured_at(c.runtime._house.backends["ket_manila"].device) == calibrated_at.timestamp()
        )

    play(tmp_path, scenario, quiet)
    play(tmp_path, look, quiet)


def test_a_calibration_that_was_interrupted_is_done_again_and_the_cadence_survives(tmp_path: Path) -> None:
    long = QpuSettings(
        name="ket_manila", device="manila", calibration_interval_seconds=3_600, calibration_seconds=30
    )
    short = long.model_copy(update={"calibration_seconds": 0.05})

    def facts(c: Centre) -> dict[str, object]:
        return c.runtime._house.work.machines.facts["ket_manila"]

    async def interrupt(c: Centre) -> None:
        assert "last_calibration" not in facts(c)
        await c.runtime.calibrate(c.me, "ket_manila")
        await c.runtime._house.engine.durable()
        assert c.runtime._house.work.machines.calibrations.began.keys() == {"ket_manila"}
        assert "calibrating_since" in facts(c)

    ended: list[object] = []

    async def again(c: Centre) -> None:
        await events(c, "CalibrationEnded", 1)
        ended.append(facts(c)["last_calibration"])
        assert len(c.rows("SELECT 1 FROM events WHERE kind = 'CalibrationRequested'")) == 2

    async def goes_on(c: Centre) -> None:
        assert facts(c)["last_calibration"] == ended[0]
        deadlines = c.runtime._house.engine.scheduler._c.timers.deadlines
        (due,) = (at for (kind, _), at in deadlines.items() if kind is TimerKind.CALIBRATION)
        expected = datetime.fromisoformat(str(ended[0])).timestamp() + 3_600
        assert abs(due - expected) < 1e-5
        assert not c.runtime._house.engine.scheduler.calibrating("ket_manila")

    async def overdue(c: Centre) -> None:
        await events(c, "CalibrationEnded", 2)
        assert (await c.end(await c.submit())).status is JobStatus.COMPLETED

    play(tmp_path, interrupt, long)
    play(tmp_path, again, short)
    play(tmp_path, goes_on, short)
    play(tmp_path, overdue, short.model_copy(update={"calibration_interval_seconds": 0.01}))
