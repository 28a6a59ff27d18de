"""Maintenance and reservations of QPUs: announced, withdrawn, listed (``modes.md`` 5.3, 5.5)."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ketline.core.events import WindowAnnounced, WindowWithdrawn
from ketline.core.model import QpuWindow
from ketline.errors import BACKEND_NOT_FOUND, INSTANCE_NOT_FOUND, NOT_AUTHORIZED, KetlineError
from ketline.service import grants
from ketline.service.clock import as_datetime
from ketline.service.grants import Actor
from ketline.service.house import House
from ketline.service.views import Principal, WindowView
from ketline.store import tables

LONGEST_SECONDS = 366 * 86_400.0


class WindowsDoor:
    """The part of `ketline.service.facade.Runtime` that is about maintenance and reservations."""

    _house: House

    async def windows(self, principal: Principal, qpu: str) -> Sequence[WindowView]:
        """The windows of a QPU that aren't over, in the order in which they start.

        Everyone sees when; whom a reservation is for is told to administrators and to those inside.
        """
        self._window_qpu(qpu)
        now = self._house.clock.now()
        found = [w for w in self._house.windows.values() if w.qpu_id == qpu and w.ends_at > now]
        return [self._window_view(principal, w) for w in sorted(found, key=lambda w: w.starts_at)]

    async def announce_window(
        self,
        principal: Principal,
        qpu: str,
        start: datetime,
        end: datetime,
        instance: str | None,
        reason: str,
    ) -> WindowView:
        """Announce maintenance, or with ``instance`` (a name) a reservation for it."""
        self._may_plan(principal)
        house = self._house
        self._window_qpu(qpu)
        now = house.clock.now()
        starts_at, ends_at = max(start.timestamp(), now), end.timestamp()
        if ends_at <= starts_at:
            raise grants.refused("end", f"{end.isoformat()} isn't after the start, or is over already")
        if ends_at - now > LONGEST_SECONDS:
            raise grants.refused("end", f"{end.isoformat()} is more than a year away")
        instance_id = None
        if instance is not None:
            owner = next((i for i in house.instances.all() if instance in (i.name, i.crn)), None)
            if owner is None:
                raise KetlineError(INSTANCE_NOT_FOUND, instance=instance)
            instance_id = owner.instance_id
        for other in house.windows.values():
            if other.qpu_id == qpu and other.starts_at < ends_at and starts_at < other.ends_at:
                raise grants.refused(
                    "start", f"it overlaps with window {other.window_id} from {as_datetime(other.starts_at)} "
                    f"to {as_datetime(other.ends_at)}; withdraw that first",
                )  # fmt: skip
        window = QpuWindow(str(uuid.uuid4()), qpu, starts_at, ends_at, instance_id, reason)
        house.engine.feed(WindowAnnounced(window))
        house.windows[window.window_id] = window
        changes = house.engine.changes
        changes.call(sa.insert(tables.qpu_windows).values(**window_row(window)))
        facts: dict[str, Any] = {
            "window": window.window_id, "start": start.isoformat(), "end": end.isoformat(),
            "instance": instance, "reason": reason,
        }  # fmt: skip
        grants.record(changes, Actor.of(principal), "qpus.announce", qpu, facts, now)
        await house.engine.durable()
        return self._window_view(principal, window)

    async def withdraw_window(self, principal: Principal, qpu: str, window_id: str) -> None:
        """Withdraw a window, or end it now."""
        self._may_plan(principal)
        house = self._house
        window = house.windows.get(window_id)
        if window is None or window.qpu_id != qpu:
            raise grants.refused("window", f"{qpu} has no window {window_id!r}")
        house.engine.feed(WindowWithdrawn(qpu, window_id))
        del house.windows[window_id]
        changes = house.engine.changes
        changes.call(sa.delete(tables.qpu_windows).where(tables.qpu_windows.c.window_id == window_id))
        facts = {"window": window_id}
        grants.record(changes, Actor.of(principal), "qpus.withdraw", qpu, facts, house.clock.now())
        await house.engine.durable()

    def _window_qpu(self, name: str) -> None:
        backend = self._house.backends.get(name)
        if backend is None or not backend.serial:
            raise KetlineError(BACKEND_NOT_FOUND, name=name)

    @staticmethod
    def _may_plan(principal: Principal) -> None:
        if principal.role != "administrator":
            who = f"A key with the role {principal.role}"
            raise KetlineError(NOT_AUTHORIZED, who=who, action="plan maintenance and reservations")

    def _window_view(self, principal: Principal, window: QpuWindow) -> WindowView:
        owner = None if window.instance_id is None else self._house.instances.get(window.instance_id)
        told = principal.role == "administrator" or principal.instance_id == window.instance_id
        return WindowView(
            window_id=window.window_id,
            backend=window.qpu_id,
            kind="maintenance" if window.instance_id is None else "reservation",
            start=as_datetime(window.starts_at),
            end=as_datetime(window.ends_at),
            instance=owner.name if owner is not None and told else None,
            reason=window.reason,
        )


def window_row(window: QpuWindow) -> dict[str, Any]:
    """A window as it is written down."""
    return {
        "window_id": window.window_id,
        "qpu_id": window.qpu_id,
        "kind": "maintenance" if window.instance_id is None else "reservation",
        "instance_id": window.instance_id,
        "starts_at": window.starts_at,
        "ends_at": window.ends_at,
        "note": window.reason,
    }


def window_of(row: Any) -> QpuWindow:
    """A window as it was written down."""
    return QpuWindow(
        row["window_id"], row["qpu_id"], row["starts_at"], row["ends_at"], row["instance_id"], row["note"]
    )


def notice(windows: Sequence[QpuWindow], now: float) -> str:
    """What everyone is told of the next window of a QPU; nothing when there is none."""
    coming = min((w for w in windows if w.ends_at > now), key=lambda w: w.starts_at, default=None)
    if coming is None:
        return ""
    what = "maintenance" if coming.instance_id is None else "reserved"
    start, end = as_datetime(coming.starts_at), as_datetime(coming.ends_at)
    text = f"{what} from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
    return f"{text}: {coming.reason}" if coming.reason else text
