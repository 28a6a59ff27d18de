"""A live runtime in the test's own process, over a folder of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import RuntimeEncoder

from ketline.config import QpuSettings, Settings
from ketline.service import runtime as live
from ketline.service.data import DataFolder
from ketline.service.runtime import LiveRuntime
from ketline.service.tasks import TASKS
from ketline.service.views import JobRequest, JobView, Principal

PATIENCE = 40.0
MANILA = QpuSettings(name="ket_manila", device="manila", seed=1)
PACED = QpuSettings(name="ket_paced", device="manila", pace=1.0)
SIMULATOR = QpuSettings(name="ket_simulator", device="manila", simulator=True)


class Centre:
    """A running centre, seen by its administrator inside the instance ``default``."""

    def __init__(self, runtime: LiveRuntime, data: DataFolder) -> None:
        self.runtime = runtime
        self.data = data
        self.me = Principal("", "", "user")

    async def enter(self, instance: str = "default") -> Principal:
        key = self.data.administrator_key.read_text().strip()
        return await self.enter_as(await self.runtime.exchange_key(key), instance)

    async def enter_as(self, owner: Principal, instance: str) -> Principal:
        administrator = await self.runtime.exchange_key(self.data.administrator_key.read_text().strip())
        crn = next(i.crn for i in await self.runtime.instances_of(administrator) if i.name == instance)
        return await self.runtime.enter(owner, crn)

    async def submit(self, backend: str = "ket_manila", **more: Any) -> JobView:
        params = more.pop("params", None) or bell()
        return await self.runtime.submit_job(self.me, JobRequest("sampler", backend, params, **more))

    async def end(self, job: JobView, seconds: float = PATIENCE) -> JobView:
        ended = await self.runtime.job_end(self.me, job.job_id, seconds)
        assert ended.status.final, ended
        return ended

    async def result(self, job: JobView) -> bytes | None:
        found = await self.runtime.job_result(self.me, job.job_id)
        if found is None:
            return None
        size, pieces = found
        content = b"".join([piece async for piece in pieces])
        assert len(content) == size
        return content

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What is on the disk."""
        with contextlib.closing(sqlite3.connect(self.data.root / "ketline.db")) as database:
            return database.execute(query, values).fetchall()


@contextlib.asynccontextmanager
async def centre(
    folder: Path, *qpus: QpuSettings, tasks: Mapping[str, str] = TASKS, **settings: Any
) -> AsyncIterator[Centre]:
    chosen = Settings(qpus=qpus or (MANILA,), **settings)
    runtime = await live.start(chosen, folder, worker_tasks=tasks)
    try:
        running = Centre(runtime, DataFolder(folder))
        running.me = await running.enter()
        yield running
    finally:
        await runtime.stop()


def play(
    folder: Path, scenario: Callable[[Centre], Awaitable[None]], *qpus: QpuSettings, **more: Any
) -> None:
    """Run a scenario in a centre that lives as long as it."""

    async def run() -> None:
        async with centre(folder, *qpus, **more) as running:
            await asyncio.wait_for(scenario(running), 100)

    asyncio.run(run())


def bell(shots: int = 20, gate: str = "cx", **more: object) -> bytes:
    """The params of a Sampler job as the client posts them; ``gate`` is one that the device has."""
    circuit = QuantumCircuit(2, 2)
    circuit.rz(np.pi / 2, 0)
    circuit.sx(0)
    circuit.rz(np.pi / 2, 0)
    getattr(circuit, gate)(0, 1)
    circuit.measure([0, 1], [0, 1])
    params = {"pubs": [[circuit, np.zeros(0), shots]], "options": {}, "version": 2, **more}
    return json.dumps(params, cls=RuntimeEncoder).encode()
