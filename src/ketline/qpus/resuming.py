"""Finding a unit again that a machine goes on with, when the QPU's process comes back.

Beside the file of a unit lies a note of its driver's (`ketline.qpus.driver.Resumable`), written as soon as
the machine has the unit and whenever there is more to note. Whoever finds the note lets the driver go on with
the unit instead of starting it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from ketline.qpus.driver import Driver, Resumable
from ketline.units.serial import read_unit

NOTE = "note"
"""Name of the file with the driver's note, in the folder of the unit's file."""

_log = logging.getLogger(__name__)


class Trail:
    """The note of one unit.

    Args:
        driver: the machine.
        unit: the unit's file.
        estimate_seconds: what was estimated of the unit, for whoever takes it up without preparing it again.
    """

    def __init__(self, driver: Driver, unit: Path, estimate_seconds: float = 0.0) -> None:
        self._driver = driver
        self._unit = unit
        self._path = unit.with_name(NOTE)
        self._estimate_seconds = estimate_seconds
        self._digest = digest(unit) if isinstance(driver, Resumable) else ""
        self._last: dict[str, Any] | None = None

    @property
    def lasts(self) -> bool:
        """Whether the unit would be found again."""
        return self._last is not None

    def begin(self) -> str:
        """Go on with the unit if it was started before, or start it; its handle."""
        handle = self.found()
        if handle is None:
            handle = self._driver.start(read_unit(self._unit))
        self.keep(handle)
        return handle

    def found(self) -> str | None:
        """The handle of a unit that was started before; None if it wasn't, or isn't known any more."""
        if not isinstance(self._driver, Resumable):
            return None
        told = read_note(self._path)
        if told is None or told["unit"] != self._digest:
            return None
        try:
            return self._driver.resume(read_unit(self._unit), told["note"])
        except LookupError as error:
            _log.warning("a unit that was on the machine isn't found there, and is started again: %s", error)
            return None

    def keep(self, handle: str) -> None:
        """Write down by what the unit is found, if that changed."""
        if not isinstance(self._driver, Resumable):
            return
        note = self._driver.note(handle)
        if note is None or note == self._last:
            return
        told = {"unit": self._digest, "note": note, "estimate_seconds": self._estimate_seconds}
        unfinished = self._path.with_name(NOTE + ".part")
        try:
            unfinished.write_text(json.dumps(told))
            unfinished.replace(self._path)
        except OSError as error:
            _log.warning("what a machine has can't be noted, so it won't be found after a crash: %s", error)
            return
        self._last = note


def digest(unit: Path) -> str:
    """What tells a unit's file from that of another round of the job, which has the same name."""
    with unit.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_note(path: Path) -> dict[str, Any] | None:
    """A note's file: ``note``, ``unit`` (`digest`) and ``estimate_seconds``; None if it can't be read."""
    try:
        told = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(told, dict) or not isinstance(told.get("note"), dict) or "unit" not in told:
        return None
    return told
