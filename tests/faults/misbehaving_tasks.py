"""Compute tasks that do what payloads ask them to: hang, exit, eat memory, run slowly. Run in workers."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import orjson

from ketline.service import tasks

MISBEHAVING = tasks.TASKS | {
    "prepare": "misbehaving_tasks:prepare",
    "finalize": "misbehaving_tasks:finalize",
}


class SlowProgram:
    """Takes its time."""

    def __init__(self, seconds: float) -> None:
        time.sleep(seconds)


class ExitingProgram:
    """Takes its worker along."""

    def __init__(self, status: int) -> None:
        os._exit(status)


class HungryProgram:
    """Wants memory."""

    def __init__(self, size: int) -> None:
        self.memory = bytearray(size)


class BrokenProgram:
    """Has a fault of its own, of a kind that isn't an Exception."""

    def __init__(self, words: str) -> None:
        raise BaseException(words)


_DOUBLES = {"slow": SlowProgram, "exit": ExitingProgram, "hungry": HungryProgram, "broken": BrokenProgram}


def _misbehave(payload: Path, when: str) -> None:
    asked = orjson.loads(payload.read_bytes()).pop("misbehave", {})
    for name, value in asked.get(when, {}).items():
        _DOUBLES[name](value)


def prepare(args: dict[str, Any]) -> dict[str, Any]:
    payload = Path(args["payload"])
    _misbehave(payload, "prepare")
    params = orjson.loads(payload.read_bytes())
    params.pop("misbehave", None)
    folder = Path(args["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    honest = folder / "honest"
    honest.write_bytes(orjson.dumps(params))
    return tasks.prepare(args | {"payload": str(honest)})


def finalize(args: dict[str, Any]) -> dict[str, Any]:
    job_id = Path(args["folder"]).name.partition(".")[0]
    payload = next((Path(args["folder"]).parents[2] / "files" / "payloads").rglob(job_id))
    _misbehave(payload, "finalize")
    return tasks.finalize(args)
