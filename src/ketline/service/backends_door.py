"""Backends as the outside sees them: how they are now, and what their properties were."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from ketline.errors import CALIBRATION_NOT_FOUND, KetlineError
from ketline.service.backends import Backend
from ketline.service.house import House
from ketline.service.views import BackendView, Principal
from ketline.service.windows_door import notice
from ketline.store import queries

_STAMPED = re.compile(r"-(\d{8}T\d{6}Z)$")
"""How the id of a calibration ends that tells its time (`ketline.qpus.drift.calibrated`)."""


class BackendsDoor:
    """The part of `ketline.service.facade.Runtime` that is about backends."""

    _house: House

    async def backends(self, principal: Principal, include_mocks: bool) -> Sequence[BackendView]:
        """The backends that the instance may use."""
        return [self._view(b) for b in self._house.backends_of(principal, mocks=include_mocks)]

    async def backend(self, principal: Principal, name: str) -> BackendView:
        """One backend; BACKEND_NOT_FOUND."""
        return self._view(self._house.backend_of(principal, name))

    def _view(self, backend: Backend) -> BackendView:
        house = self._house
        view = backend.view(house.engine.queue_lengths[backend.name])
        if house.windows and not view.message:
            coming = [w for w in house.windows.values() if w.qpu_id == backend.name]
            view = dataclasses.replace(view, message=notice(coming, house.clock.now()))
        return view

    async def configuration(self, principal: Principal, name: str, calibration_id: str | None) -> bytes:
        """The configuration in wire form; it is the same at every calibration."""
        backend = self._house.backend_of(principal, name)
        if calibration_id is not None:
            await self._calibrated(backend, calibration_id)
        return backend.configuration

    async def properties(
        self, principal: Principal, name: str, updated_before: datetime | None, calibration_id: str | None
    ) -> bytes:
        """The properties in wire form: as they are, as a calibration left them, or as they were at a time.

        ``null`` when there are none, or none are known of so long ago.
        """
        backend = self._house.backend_of(principal, name)
        if calibration_id is not None:
            return await self._calibrated(backend, calibration_id)
        if updated_before is None or not backend.serial:
            return backend.properties
        kept = await self._house.store.read(queries.properties, name, updated_before.timestamp())
        return b"null" if kept is None else kept

    async def _calibrated(self, backend: Backend, calibration_id: str) -> bytes:
        """The properties that a calibration left; CALIBRATION_NOT_FOUND."""
        if calibration_id == backend.device.calibration_id:
            return backend.properties
        at = _time_in(calibration_id, backend.name)
        if at is not None and backend.serial:
            kept = await self._house.store.read(queries.properties, backend.name, at)
            before = await self._house.store.read(queries.properties, backend.name, at - 1.0)
            # What was measured in that very second is what is new since the second before.
            if kept is not None and kept != before:
                return kept
        raise KetlineError(CALIBRATION_NOT_FOUND, name=backend.name, calibration_id=calibration_id)


def _time_in(calibration_id: str, name: str) -> float | None:
    """When a calibration took place that bears its time in its name."""
    stamp = _STAMPED.search(calibration_id)
    if stamp is None or calibration_id != f"{name}{stamp.group()}":
        return None
    try:
        return datetime.strptime(stamp.group(1), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
