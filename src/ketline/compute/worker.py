"""The worker's side: does one task at a time, each under a limit of memory of its own."""

from __future__ import annotations

import importlib
import resource
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import orjson

from ketline.units.errors import JobError

_LONGEST_MESSAGE = 8_000
Task = Callable[[dict[str, Any]], dict[str, Any]]


def main(connection: Connection, spec: str) -> None:
    """Answer ``{"task": name, "args": {…}}`` until the connection closes.

    ``spec`` is JSON: ``{"tasks": {name: "module:function"}, "memory_bytes": N}``. The answers are
    ``{"is": "ready"}`` at first, then for each task one of ``{"is": "done", "answer": {…}}``,
    ``{"is": "refused", "code", "message", "solution"}`` (the job's own fault), ``{"is": "memory"}``,
    ``{"is": "faulted", "details"}``. ``"spent": true`` in an answer asks to be replaced.
    """
    given = orjson.loads(spec)
    memory_bytes = int(given["memory_bytes"])
    tasks = {name: _load(path) for name, path in given["tasks"].items()}
    start_bytes = _data_bytes()
    try:
        connection.send_bytes(b'{"is":"ready"}')
    except OSError:  # the server ended while we started
        return
    while True:
        try:
            message = orjson.loads(connection.recv_bytes())
        except (EOFError, OSError):
            return
        answer = _do(tasks[message["task"]], message["args"], memory_bytes)
        # What a task left behind counts against the next one's memory, so a bloated worker goes.
        if answer["is"] == "memory" or _data_bytes() - start_bytes > max(memory_bytes // 4, 500_000_000):
            answer["spent"] = True
        try:
            connection.send_bytes(orjson.dumps(answer))
        except OSError:
            return


def _load(path: str) -> Task:
    module, _, function = path.partition(":")
    task: Task = getattr(importlib.import_module(module), function)
    return task


def _do(task: Task, args: dict[str, Any], memory_bytes: int) -> dict[str, Any]:
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (_data_bytes() + memory_bytes, hard))
    try:
        return {"is": "done", "answer": task(args)}
    except JobError as error:
        return {
            "is": "refused",
            "code": error.code,
            "message": error.message[:_LONGEST_MESSAGE],
            "solution": error.solution[:_LONGEST_MESSAGE],
        }
    except MemoryError:
        return {"is": "memory"}
    except BaseException:  # noqa: BLE001 - a panic in Qiskit's Rust code is no Exception
        return {"is": "faulted", "details": traceback.format_exc()[-_LONGEST_MESSAGE:]}
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def _data_bytes() -> int:
    """What counts against RLIMIT_DATA now."""
    pages = int(Path("/proc/self/statm").read_bytes().split()[5])
    return pages * resource.getpagesize()
