"""What the doors of the runtime share: everything that is alive in one server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from ketline.compute.pool import Pool
from ketline.config import Settings
from ketline.core.model import QpuWindow, Reason
from ketline.errors import (
    BACKEND_NOT_FOUND,
    INSTANCE_NOT_FOUND,
    INTERNAL,
    NOT_AUTHORIZED,
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
from ketline.service.views import Principal
from ketline.service.work import Work
from ketline.store.files import Files
from ketline.store.store import Store


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
    """Held while something with a name of its own is made."""

    def instance_of(self, principal: Principal) -> Instance:
        """The instance that the principal is in."""
        instance = self.instances.get(principal.instance_id)
        if instance is None:
            raise KetlineError(INSTANCE_NOT_FOUND, instance=principal.instance_id)
        return instance

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

    @staticmethod
    def _may_use(instance: Instance, backend: Backend) -> bool:
        allowed = instance.overrides.get("qpus")
        return allowed is None or backend.settings.name in allowed

    @staticmethod
    def check_owner(principal: Principal, user_id: str, action: str) -> None:
        """Only the owner changes what is theirs, and whoever manages the instance."""
        if principal.role == "user" and principal.user_id != user_id:
            raise KetlineError(NOT_AUTHORIZED, who="This user", action=action)

    def mocks(self) -> tuple[str, ...]:
        """The names of the dry-run twins."""
        return tuple(b.name for b in self.backends.values() if b.mock)
