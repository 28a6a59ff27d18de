"""The live runtime: puts the parts together, starts them, recovers, and stops them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ketline.compute import child
from ketline.compute.pool import Pool
from ketline.config import Settings
from ketline.core.events import InstanceRegistered
from ketline.core.scheduler import Scheduler
from ketline.errors import INSTANCE_NOT_FOUND, KetlineError
from ketline.programs.base import programs
from ketline.service import backends as backends_of_centre
from ketline.service import bootstrap, orphans, recovery, tasks
from ketline.service.backends import Backend
from ketline.service.backends_door import BackendsDoor
from ketline.service.board import Board
from ketline.service.clock import Clock, as_datetime
from ketline.service.data import DataFolder
from ketline.service.engine import Engine
from ketline.service.explaining import ExplainingDoor
from ketline.service.governance_door import GovernanceDoor
from ketline.service.house import House
from ketline.service.ids import JobIds
from ketline.service.instances import Instance, Instances
from ketline.service.job_door import JobDoor
from ketline.service.kept import Kept, carried_over
from ketline.service.keys import Keyring
from ketline.service.ledger_door import LedgerDoor
from ketline.service.views import InstanceView, Principal
from ketline.service.windows_door import WindowsDoor
from ketline.service.work import Work
from ketline.service.workload_door import WorkloadDoor
from ketline.store import queries
from ketline.store.files import Files
from ketline.store.lock import FolderLock
from ketline.store.store import Store

_log = logging.getLogger(__name__)

FATAL_STATUS = 70
"""Exit status of a server that can't write any more."""


def end_process(error: BaseException) -> None:
    """What a failed commit does: the core is ahead of the disk, so nothing may be told any more."""
    why = getattr(error, "orig", error)  # what the database's driver says, without what SQLAlchemy adds
    sys.stderr.write(
        f"ketline: the store can't be written ({why}); stopping at once. What was acknowledged is on the "
        "disk; start the server again when the cause is removed.\n"
    )
    sys.stderr.flush()
    os._exit(FATAL_STATUS)


class LiveRuntime(
    JobDoor, WorkloadDoor, BackendsDoor, LedgerDoor, GovernanceDoor, WindowsDoor, ExplainingDoor
):
    """The one implementation of `ketline.service.facade.Runtime`; made by `start`."""

    def __init__(self, house: House, secret: bytes, lock: FolderLock) -> None:
        self._house = house
        self._secret = secret
        self._lock = lock
        self._background: set[asyncio.Task[Any]] = set()

    async def stop(self) -> None:
        """Stop: what was acknowledged is written down, what was running will be run again."""
        house = self._house
        for task in self._background:
            task.cancel()
        self._put_away_foresight()
        house.engine.close()
        await house.work.close()
        await house.pool.close()
        await house.engine.durable()
        await asyncio.to_thread(house.store.close)
        await asyncio.to_thread(house.files.close)
        self._lock.release()

    def warm_up(self) -> None:
        """Have every worker make ready what its first job would otherwise wait for."""
        devices = [str(b.device_path) for b in self._house.backends.values()]

        async def warm() -> None:
            with contextlib.suppress(Exception):
                await self._house.pool.run("warm", {"devices": devices}, timeout_seconds=120.0)

        for _ in range(self._house.pool.size):
            self._meanwhile(warm())

    def tidy_up(self) -> None:
        """Delete the files that a crash left without their job."""
        house = self._house
        self._meanwhile(orphans.sweep_quietly(house.files, house.store, house.clock.now()))

    def _meanwhile(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # credentials

    async def exchange_key(self, api_key: str) -> Principal:
        """The owner of an API key; BAD_CREDENTIALS otherwise."""
        return await self._house.keyring.check(api_key)

    async def standing(self, principal: Principal) -> Principal:
        """The principal with the role that they have now; BAD_CREDENTIALS if their key was revoked."""
        return await self._house.keyring.standing(principal)

    async def instances_of(self, principal: Principal) -> Sequence[InstanceView]:
        """The instances that the principal may use."""
        await self._house.keyring.still(principal)
        await self._look_for_instances()
        return [
            self._house.shown(instance)
            for instance in list(self._house.instances.all())
            if await self._house.keyring.enter(principal, instance.instance_id) is not None
        ]

    async def enter(self, principal: Principal, crn: str) -> Principal:
        """The principal inside an instance; INSTANCE_NOT_FOUND unless the key may use it."""
        instance = self._house.instances.by_crn(crn)
        if instance is None:
            await self._look_for_instances()
            instance = self._house.instances.by_crn(crn)
        inside = None
        if instance is not None:
            inside = await self._house.keyring.enter(principal, instance.instance_id)
        if inside is None:
            raise KetlineError(INSTANCE_NOT_FOUND, instance=crn)
        return inside

    async def _look_for_instances(self) -> None:
        """Take up instances that the command line made beside us."""
        house = self._house
        for row in await house.store.read(queries.instances):
            if house.instances.get(row["instance_id"]) is None:
                instance = Instance.from_row(row)
                house.instances.add(instance)
                house.engine.feed(InstanceRegistered(house.instances.spec(instance)))

    async def signing_secret(self) -> bytes:
        """The secret with which access tokens are signed."""
        return self._secret

    # instances

    async def instance(self, principal: Principal) -> InstanceView:
        """The principal's instance with its usage."""
        return self._house.shown(self._house.instance_of(principal))

    # administration

    def now(self) -> datetime:
        """The time by which everything here is decided."""
        return as_datetime(self._house.clock.now())

    async def health(self) -> dict[str, Any]:
        """Whether the runtime can do its work, and the state of its parts; nothing of anybody's jobs."""
        house = self._house
        return {
            "status": "ok",
            "workers": house.pool.facts,
            "qpus": {
                name: {
                    **{key: facts[key] for key in ("ready", "message", "starts")},
                    "status": house.backends[name].mode.value,
                }
                for name, facts in house.work.machines.facts.items()
            },
            "jobs": {"unfinished": len(house.engine.scheduler.jobs)},
            "workloads": {"open": len(house.engine.scheduler.workloads)},
        }


async def start(
    settings: Settings,
    data_folder: Path,
    *,
    failed: Callable[[BaseException], None] = end_process,
    worker_tasks: Mapping[str, str] = tasks.TASKS,
) -> LiveRuntime:
    """Start a runtime over a data folder. Workers and QPUs come up in the background; jobs wait for them.

    ``failed`` is called, in a thread, when the store can't be written any more. ``worker_tasks`` names the
    functions that compute workers run.

    Raises:
        FolderTaken: another server works in the folder.
        StoreError: the database or the file store can't be used.
        ConfigError: the settings name something that doesn't exist.
    """
    data = DataFolder(data_folder)
    data.keep_private(settings)
    lock = FolderLock(data.root)
    with contextlib.ExitStack() as undo:
        undo.callback(lock.release)
        child.preload(tasks.PRELOAD)
        store = Store(data.database_url(settings), failed)
        undo.callback(store.close)
        files = Files(data.files_url(settings))
        undo.callback(files.close)
        seen_at = store.read_now(queries.last_event_at)
        clock = Clock(not_before=seen_at)
        bootstrap.prepare(store, settings, data, clock.now())
        backends = backends_of_centre.load(settings.qpus, data.qpus)
        scratch, kept = _fresh(data.scratch)
        board = Board()
        engine = Engine(Scheduler(), clock, store.writer, board)
        known_instances = Instances(settings)
        workers = settings.compute.workers or min(8, max(2, os.cpu_count() or 1))
        pool = Pool(worker_tasks, workers=workers, memory_bytes=settings.compute.memory_bytes)
        work = Work(engine, pool, files, backends, settings.compute, scratch, kept)
        engine.performer = work
        work.machines.start()
        pool.start()
        windows = recovery.restore(
            store, engine, backends, known_instances, work.machines.calibrations, seen_at
        )
        work.restored()
        _keep_first_properties(store, work, backends)
        house = House(
            settings=settings,
            clock=clock,
            store=store,
            files=files,
            board=board,
            engine=engine,
            pool=pool,
            work=work,
            backends=backends,
            instances=known_instances,
            keyring=Keyring(store, clock, store.read_now(queries.setting, bootstrap.KEY_PEPPER) or b""),
            job_ids=JobIds(),
            programs=frozenset(programs()),
            windows=windows,
        )
        secret = store.read_now(queries.setting, bootstrap.SIGNING_SECRET) or b""
        runtime = LiveRuntime(house, secret, lock)
        await engine.durable()
        runtime.warm_up()
        runtime.tidy_up()
        _calm_collector()
        undo.pop_all()
    return runtime


def _calm_collector() -> None:
    """Keep the garbage collector off what lives as long as the server, and have it look less often.

    With thousands of jobs at hand, a full collection holds every request up for a tenth of a second; next to
    nothing here is cyclic.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def _fresh(scratch: Path) -> tuple[Path, dict[str, Kept]]:
    """A folder for this life alone: what a killed predecessor's processes still write can't get into it.

    Of the predecessor's own, what machines may still be busy with is moved there.
    """
    folder = scratch / secrets.token_hex(4)
    folder.mkdir(mode=0o700, parents=True)
    kept = carried_over(scratch, folder)
    for old in scratch.iterdir():
        if old != folder:
            shutil.rmtree(old, ignore_errors=True)
    return folder, kept


def _keep_first_properties(store: Store, work: Work, backends: dict[str, Backend]) -> None:
    for backend in backends.values():
        if backend.serial and store.read_now(queries.properties, backend.name, None) is None:
            work.machines.keep_properties(backend)
