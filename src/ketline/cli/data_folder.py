"""What the command line itself keeps in a data folder: where its server is."""

from __future__ import annotations

import json
import os
from pathlib import Path

FILE = "server.json"


def note_server(data: Path, url: str, local: str, config: Path | None = None) -> None:
    """Write down where the server of this folder is, for clients and for verbs on this machine.

    The configuration that it was started with is that of its plans: verbs beside it use the same.
    """
    noted: dict[str, object] = {"url": url, "local": local, "pid": os.getpid()}
    if config is not None:
        noted["config"] = str(config.expanduser().resolve())
    beside = data / f"{FILE}.part"
    beside.write_text(json.dumps(noted) + "\n", encoding="utf-8")
    beside.rename(data / FILE)


def forget_server(data: Path) -> None:
    """This process's server has stopped; a note of another's is left alone."""
    noted = _noted(data)
    if noted is not None and noted.get("pid") == os.getpid():
        (data / FILE).unlink(missing_ok=True)


def server_url(data: Path) -> str | None:
    """The URL under which clients see the server that works in this folder; None when none does."""
    return _told(data, "url")


def local_url(data: Path) -> str | None:
    """Where that server is on this machine: verbs need no proxy, and work when it is down."""
    return _told(data, "local")


def server_config(data: Path) -> Path | None:
    """What the server of this folder was started with; None when it has no configuration, or isn't up."""
    told = _told(data, "config")
    return None if told is None else Path(told)


def _told(data: Path, what: str) -> str | None:
    noted = _noted(data)
    if noted is None or not _alive(noted.get("pid")):
        return None
    told = noted.get(what)
    return told if isinstance(told, str) else None


def _noted(data: Path) -> dict[str, object] | None:
    try:
        noted = json.loads((data / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return noted if isinstance(noted, dict) else None


def _alive(pid: object) -> bool:
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
