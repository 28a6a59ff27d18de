"""When each QPU was last calibrated, and since when one is being calibrated: kept over restarts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
import sqlalchemy as sa

from ketline.service.clock import as_datetime
from ketline.service.engine import Engine
from ketline.store import queries, tables
from ketline.store.store import Store


class Calibrations:
    """The calibrations of a centre. A calibration whose end isn't written down was interrupted."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.began: dict[str, float] = {}
        """Since when the QPUs that are being calibrated are."""
        self.ended: dict[str, float] = {}
        """When the others were last calibrated, as far as they ever were."""

    def restore(self, store: Store, qpu_ids: Iterable[str]) -> list[str]:
        """Read what a predecessor wrote down; the QPUs whose calibration it didn't see the end of."""
        interrupted = []
        for qpu_id in qpu_ids:
            written = store.read_now(queries.setting, _name(qpu_id))
            if written is None:
                continue
            times = orjson.loads(written)
            if times["ended_at"] is not None:
                self.ended[qpu_id] = times["ended_at"]
            if times["began_at"] is not None:
                interrupted.append(qpu_id)
        return interrupted

    def begin(self, qpu_id: str) -> None:
        """A calibration begins; this is durable with the next group of changes."""
        self.began[qpu_id] = self._engine.clock.now()
        self._write(qpu_id)

    def end(self, qpu_id: str) -> None:
        """A calibration ended, well or not."""
        if self.began.pop(qpu_id, None) is not None:
            self.ended[qpu_id] = self._engine.clock.now()
            self._write(qpu_id)

    def facts(self, qpu_id: str) -> dict[str, Any]:
        """For an operator: times in ISO 8601; nothing of a QPU that was never calibrated."""
        found = {"calibrating_since": self.began.get(qpu_id), "last_calibration": self.ended.get(qpu_id)}
        return {name: as_datetime(at).isoformat() for name, at in found.items() if at is not None}

    def _write(self, qpu_id: str) -> None:
        times = {"began_at": self.began.get(qpu_id), "ended_at": self.ended.get(qpu_id)}
        changes, name = self._engine.changes, _name(qpu_id)
        changes.call(sa.delete(tables.settings).where(tables.settings.c.name == name))
        changes.call(sa.insert(tables.settings).values(name=name, value=orjson.dumps(times)))


def _name(qpu_id: str) -> str:
    """The entry's name. It has room for a QPU's name, which is short (`ketline.config.QpuSettings`)."""
    return f"calibration of {qpu_id}"
