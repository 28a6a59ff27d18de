"""Asks the server for its queues, in a thread of its own, and goes on when the server is away for a while."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ketline.cli.output import Refusal
from ketline.cli.remote import Remote

_LAST_SECONDS = 0.5

Qpus = list[dict[str, Any]]
"""What ``GET /ketline/v1/queue`` tells of each QPU."""


class Centre:
    """The QPUs of the server that works in a data folder, wherever it is by now."""

    def __init__(self, data: Path, limit: int) -> None:
        self._data = data
        self._limit = limit
        self._remote: Remote | None = None
        self._crns: list[str] = []

    def ask(self) -> Qpus:
        """Every QPU with its lanes, sessions and queue, in the order of names.

        Raises:
            Refusal: the server isn't there, or refuses; the next call looks for it anew.
        """
        try:
            if self._remote is None:
                return self._begin()
            return self._of(self._remote, self._crns)
        except Refusal:
            self._remote = None
            raise

    def _begin(self) -> Qpus:
        """Find as few instances as it takes to see all QPUs: an instance may be confined to some of them."""
        remote = Remote.of(self._data)
        wanted = {qpu["name"] for qpu in remote.ask("GET", "/ketline/v1/qpus")["qpus"]}
        chosen: list[str] = []
        found: dict[str, dict[str, Any]] = {}
        for crn in remote.instances().values():
            seen = {qpu["backend"]: qpu for qpu in self._of(remote, [crn])}
            if seen.keys() - found.keys():
                chosen.append(crn)
                found = seen | found
            if found.keys() >= wanted:
                break
        self._remote, self._crns = remote, chosen
        return _ordered(found)

    def _of(self, remote: Remote, crns: list[str]) -> Qpus:
        found: dict[str, dict[str, Any]] = {}
        for crn in crns:
            told = remote.ask("GET", "/ketline/v1/queue", query={"limit": self._limit}, crn=crn)
            found = {qpu["backend"]: qpu for qpu in told["qpus"]} | found
        return _ordered(found)


def _ordered(found: dict[str, dict[str, Any]]) -> Qpus:
    return [found[name] for name in sorted(found)]


@dataclass(frozen=True, slots=True)
class Told:
    """The QPUs as they were at ``at`` (monotonic clock), and why nothing newer is known."""

    qpus: Qpus
    at: float
    trouble: str = ""


class Asking:
    """Asks again and again until it is told to stop; ``told`` is always the newest."""

    def __init__(self, centre: Centre, every: float) -> None:
        self._centre = centre
        self.every = every
        self._stopped = threading.Event()
        self.told = Told(centre.ask(), time.monotonic())
        # A server that hangs must not keep us from ending.
        self._thread = threading.Thread(target=self._work, name="ketline-asking", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask no more. A question that is under way has a moment to be answered."""
        self._stopped.set()
        self._thread.join(_LAST_SECONDS)

    def _work(self) -> None:
        while not self._stopped.wait(self.every):
            try:
                self.told = Told(self._centre.ask(), time.monotonic())
            except Refusal as error:
                self.told = Told(self.told.qpus, self.told.at, error.message)
