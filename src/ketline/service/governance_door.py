"""Administering a live server: users, keys, instances, QPUs, and the audit trail.

An administrator may do everything. A manager may make and revoke keys of users for the instances that their
own key opens. A user may do nothing here but look at their own keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ketline.config import InstanceSettings
from ketline.core.events import CalibrationRequested, InstanceRegistered
from ketline.core.model import QpuMode
from ketline.errors import (
    BACKEND_NOT_FOUND,
    INSTANCE_NOT_FOUND,
    KEY_NOT_FOUND,
    LIMIT_BELOW_USAGE,
    NOT_AUTHORIZED,
    KetlineError,
)
from ketline.service import bootstrap, grants, keys
from ketline.service.backends import Backend
from ketline.service.clock import as_datetime
from ketline.service.grants import Actor
from ketline.service.house import House
from ketline.service.instances import Instance, overrides_update
from ketline.service.views import AuditLine, InstanceView, KeyView, Principal, QpuView, UserView
from ketline.store import queries
from ketline.store.changes import Changes


class GovernanceDoor:
    """The part of `ketline.service.facade.Runtime` that is about administration."""

    _house: House

    async def users(self, principal: Principal) -> Sequence[UserView]:
        """All users; for a manager, those whose keys open only what the manager's own key opens."""
        _require(principal, "list the users", "administrator", "manager")
        rows = await self._house.store.read(queries.users)
        if principal.role != "administrator":
            known = {key.user_id for key in await self.keys(principal)}
            rows = [row for row in rows if row["user_id"] in known]
        return [UserView(r["user_id"], r["name"], r["role"], as_datetime(r["created_at"])) for r in rows]

    async def keys(self, principal: Principal) -> Sequence[KeyView]:
        """The API keys that the principal may see."""
        owner = None if principal.role == "administrator" else principal.user_id
        found = [keys.key_view(row) for row in await self._house.store.read(queries.keys, owner)]
        if principal.role == "manager":
            opened = await self._opened(principal)
            every = [keys.key_view(row) for row in await self._house.store.read(queries.keys, None)]
            own = {key.key_id for key in found}
            found += [k for k in every if k.key_id not in own and _inside(k.instances, opened)]
        return found

    async def create_key(
        self, principal: Principal, user: str, name: str, role: str, instances: Sequence[str]
    ) -> tuple[KeyView, str]:
        """A new key, and the key itself, which is shown only now. ``instances`` are names; none means all."""
        _require(principal, "make keys", "administrator", "manager")
        house = self._house
        if principal.role == "manager" and role != "user":
            raise KetlineError(NOT_AUTHORIZED, who="A manager", action=f"make keys with the role {role}")
        if principal.role == "manager" and not instances:
            raise KetlineError(NOT_AUTHORIZED, who="A manager", action="make keys that open every instance")
        chosen = {name: (await self._named(principal, name)).instance_id for name in instances}
        async with house.naming:
            changes = Changes()
            pepper = await house.store.read(queries.setting, bootstrap.KEY_PEPPER) or b""
            users = await house.store.read(queries.users)
            now = house.clock.now()
            key_id, text = grants.new_key(
                changes, users, pepper, user, name, role, chosen, Actor.of(principal), now
            )
            await house.store.write(changes)
        row = await house.store.read(queries.key, key_id)
        if row is None:
            raise grants.refused("user", f"{user!r} was made by somebody else just now; ask again")
        return keys.key_view(row), text

    async def revoke_key(self, principal: Principal, key_id: str) -> None:
        """Revoke a key for good; users may revoke their own."""
        visible = {key.key_id for key in await self.keys(principal)}
        if key_id not in visible:
            raise KetlineError(KEY_NOT_FOUND, key_id=key_id)
        house = self._house
        changes = Changes()
        grants.revoked_key(changes, key_id, Actor.of(principal), house.clock.now())
        await house.store.write(changes)
        house.keyring.forget(key_id)

    async def create_instance(self, principal: Principal, wanted: InstanceSettings) -> InstanceView:
        """A new instance."""
        _require(principal, "make instances")
        house = self._house
        self._check_qpus(wanted.qpus)
        async with house.naming:
            now = house.clock.now()
            taken = [row["name"] for row in await house.store.read(queries.instances)]
            made = Changes()
            row = grants.new_instance(
                made, wanted, taken, house.settings.all_plans(), Actor.of(principal), now
            )
            await house.store.write(made)
        if all(
            known["instance_id"] != row["instance_id"] for known in await house.store.read(queries.instances)
        ):
            raise grants.refused("name", f"{wanted.name!r} was made by somebody else just now")
        instance = Instance.from_row(row)
        house.instances.add(instance)
        house.engine.feed(InstanceRegistered(house.instances.spec(instance)))
        await house.engine.durable()
        return house.shown(instance)

    async def change_instance(
        self, principal: Principal, name: str, given: Mapping[str, Any]
    ) -> InstanceView:
        """Change an instance's plan, tags, QPUs, figures, or whether it is archived (``modes.md`` 5.5)."""
        if principal.role != "manager" or not set(given) <= {"limit_seconds", "tags"}:
            _require(principal, "change this of an instance")
        house = self._house
        async with house.naming:
            instance = await self._named(principal, name)
            made = Changes()
            changed = grants.changed_instance(
                made, instance, given, house.settings.all_plans(), Actor.of(principal), house.clock.now()
            )
            self._check_qpus(changed.overrides.get("qpus") if "qpus" in given else None)
            past = await house.past_usage(instance, changed)
            house.engine.changes.absorb(made)
            house.instances.add(changed)
            house.engine.feed(InstanceRegistered(house.instances.spec(changed), past))
            await house.engine.durable()
        return house.shown(changed)

    async def set_instance_limit(self, principal: Principal, limit_seconds: float | None) -> None:
        """Change the usage limit; LIMIT_BELOW_USAGE for one below what was used (``modes.md`` F10)."""
        if principal.role == "user":
            raise KetlineError(NOT_AUTHORIZED, who="This user", action="change the instance's limit")
        house = self._house
        async with house.naming:
            instance = house.instance_of(principal)
            used = house.engine.scheduler.usage(instance.instance_id, house.clock.now()).used_seconds
            if limit_seconds is not None and limit_seconds < used:
                raise KetlineError(LIMIT_BELOW_USAGE, used=used, limit=limit_seconds)
            instance.overrides |= {"limit_seconds": limit_seconds, "limit_was_set": True}
            changes, facts = house.engine.changes, {"limit_seconds": limit_seconds}
            changes.call(overrides_update(instance))
            grants.record(
                changes, Actor.of(principal), "instances.change", instance.name, facts, house.clock.now()
            )
            house.engine.feed(InstanceRegistered(house.instances.spec(instance)))
            await house.engine.durable()

    async def qpus(self, principal: Principal) -> Sequence[QpuView]:
        """The QPUs with their mode, and what their processes say."""
        _require(principal, "look at the QPUs' processes", "administrator", "manager")
        house = self._house
        facts = house.work.machines.facts
        return [
            QpuView(
                b.name, b.mode, b.message, b.settings.lanes, house.engine.queue_lengths[b.name],
                b.settings.driver, b.settings.device, facts.get(b.name, {}),
            )
            for b in house.backends.values()
            if not b.mock
        ]  # fmt: skip

    async def set_qpu_mode(self, principal: Principal, name: str, mode: QpuMode, reason: str) -> None:
        """Pause, resume, take offline or retire a QPU (``modes.md`` 5.5)."""
        _require(principal, "change the mode of a QPU")
        house, backend = self._house, self._qpu(name)
        now = house.clock.now()
        house.work.machines.set_mode(backend.name, mode, reason)
        house.engine.write_qpu_mode(name, mode.value, reason, now)
        facts = {"mode": mode.value, "reason": reason}
        grants.record(house.engine.changes, Actor.of(principal), "qpus.mode", name, facts, now)
        await house.engine.durable()

    async def calibrate(self, principal: Principal, name: str) -> None:
        """Calibrate a QPU as soon as the rules allow it (``modes.md`` 7)."""
        _require(principal, "calibrate a QPU")
        house, backend = self._house, self._qpu(name)
        if not backend.serial:
            raise grants.refused("name", f"{name} is a simulator: there is nothing to calibrate")
        house.engine.feed(CalibrationRequested(name))
        grants.record(
            house.engine.changes, Actor.of(principal), "qpus.calibrate", name, {}, house.clock.now()
        )
        await house.engine.durable()

    async def audit(
        self, principal: Principal, subject: str | None, before: int | None, limit: int
    ) -> Sequence[AuditLine]:
        """The audit trail, newest first."""
        _require(principal, "read the audit trail")
        rows = await self._house.store.read(queries.audit, subject, before, limit)
        return [
            AuditLine(
                row["number"], as_datetime(row["at"]), row["actor"], row["key_id"], row["action"],
                row["subject"], row["facts"],
            )
            for row in rows
        ]  # fmt: skip

    # what all of them need

    async def _named(self, principal: Principal, name: str) -> Instance:
        """An instance that the principal's key opens; for others there is none of the name."""
        house = self._house
        found = next((i for i in house.instances.all() if name in (i.name, i.crn, i.instance_id)), None)
        opened = found and await house.keyring.enter(principal, found.instance_id)
        if found is None or (opened is None and principal.role != "administrator"):
            raise KetlineError(INSTANCE_NOT_FOUND, instance=name)
        return found

    def _qpu(self, name: str) -> Backend:
        backend = self._house.backends.get(name)
        if backend is None or backend.mock:
            raise KetlineError(BACKEND_NOT_FOUND, name=name)
        return backend

    def _check_qpus(self, names: Sequence[str] | None) -> None:
        for name in names or ():
            self._qpu(name)

    async def _opened(self, principal: Principal) -> set[str]:
        """The ids of the instances that the principal's key opens."""
        house = self._house
        return {
            i.instance_id
            for i in list(house.instances.all())
            if await house.keyring.enter(principal, i.instance_id) is not None
        }


def _require(principal: Principal, action: str, *roles: str) -> None:
    if principal.role not in (roles or ("administrator",)):
        raise KetlineError(NOT_AUTHORIZED, who=f"A key with the role {principal.role}", action=action)


def _inside(instances: Sequence[str], opened: set[str]) -> bool:
    return bool(instances) and set(instances) <= opened
