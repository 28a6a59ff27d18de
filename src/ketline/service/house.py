"""What the doors of the runtime share: everything that is alive in one server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from ketline.compute.pool import Pool
from ketline.config import Settings
from ketline.core.events import PastUsage
from ketline.core.model import QpuWindow, Reason
from ketline.errors import (
    BACKEND_NOT_FOUND,
    INSTANCE_NOT_FOUND,
    INTERNAL,
    NOT_AUTHORIZED,
    PROGRAM_NOT_FOUND,
    REGISTRY,
    KetlineError,
)
from ketline.service.backends import Backend
from ketline.service.board import Board
from ketline.service.clock import Clock
from ketline.service.engine import Engine
from ketline.service.ids import JobIds
from ketline.service.instances import Instance, Instances
from ketline.service.keys import Keyring
from ketline.service.views import InstanceView, Principal
from ketline.service.work import Work
from ketline.store import queries
from ketline.store.files import Files
from ketline.store.store import Store

_MINUTE = 60.0


class Refused(KetlineError):
    """A refusal by the core, in its own words."""

    def __init__(self, reason: Reason) -> None:
        Exception.__init__(self, reason.message)
        self.kind = REGISTRY.get(reason.code, INTERNAL)
        self.message = reason.message
        self.solution = reason.solution


@dataclass(slots=True)
class House:
    """The parts of a live server."""

    settings: Settings
    clock: Clock
    store: Store
    files: Files
    board: Board
    engine: Engine
    pool: Pool
    work: Work
    backends: Mapping[str, Backend]
    instances: Instances
    keyring: Keyring
    job_ids: JobIds
    programs: frozenset[str]
    windows: dict[str, QpuWindow]
    naming: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while something with a name of its own is made, or an instance changed."""

    def instance_of(self, principal: Principal) -> Instance:
        """The instance that the principal is in."""
        instance = self.instances.get(principal.instance_id)
        if instance is None:
            raise KetlineError(INSTANCE_NOT_FOUND, instance=principal.instance_id)
        return instance

    def shown(self, instance: Instance) -> InstanceView:
        """An instance as the outside sees it, with what it was billed inside its window."""
        now = self.clock.now()
        usage = self.engine.scheduler.usage(instance.instance_id, now)
        return self.instances.view(instance, now, usage.billed_seconds)

    def backend_of(self, principal: Principal, name: str) -> Backend:
        """A backend that the principal's instance may use."""
        backend = self.backends.get(name)
        if backend is None or not self._may_use(self.instance_of(principal), backend):
            raise KetlineError(BACKEND_NOT_FOUND, name=name)
        return backend

    def backends_of(self, principal: Principal, *, mocks: bool) -> list[Backend]:
        """The backends that the principal's instance may use."""
        instance = self.instance_of(principal)
        return [b for b in self.backends.values() if (mocks or not b.mock) and self._may_use(instance, b)]

    async def past_usage(self, instance: Instance, changed: Instance) -> PastUsage | None:
        """What a window that becomes longer holds again; None for one that doesn't."""
        old, new = self.instances.window_seconds(instance), self.instances.window_seconds(changed)
        if old is None or (new is not None and new <= old):
            return None
        await self.engine.durable()
        now = self.clock.now()
        # whole minutes, as the ledger sums them up: none is half known to the scheduler
        before = (now - old) // _MINUTE * _MINUTE + _MINUTE
        since = None if new is None else now - new
        lines = await self.store.read(queries.usage_by_minute, instance.instance_id, since, before)
        return PastUsage(before, tuple(lines))

    @staticmethod
    def _may_use(instance: Instance, backend: Backend) -> bool:
        allowed = instance.overrides.get("qpus")
        return allowed is None or backend.settings.name in allowed

    @staticmethod
    def check_owner(principal: Principal, user_id: str, action: str) -> None:
        """Only the owner changes what is theirs, and whoever manages the instance."""
        if principal.role == "user" and principal.user_id != user_id:
            raise KetlineError(NOT_AUTHORIZED, who="This user", action=action)

    def check_program(self, program: str) -> None:
        """PROGRAM_NOT_FOUND unless it is installed."""
        if program not in self.programs:
            raise KetlineError(PROGRAM_NOT_FOUND, program=program, installed=", ".join(sorted(self.programs)))

    def mocks(self) -> tuple[str, ...]:
        """The names of the dry-run twins."""
        return tuple(b.name for b in self.backends.values() if b.mock)
