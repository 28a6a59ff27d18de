"""Tasks that misbehave, to be run in workers."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from ketline.units.errors import JobError


def echo(args: dict[str, Any]) -> dict[str, Any]:
    return args


def hang(args: dict[str, Any]) -> dict[str, Any]:
    time.sleep(3600)
    return args


def eat(args: dict[str, Any]) -> dict[str, Any]:
    return {"size": len(bytearray(args.get("bytes", 2_000_000_000)))}


def leave(args: dict[str, Any]) -> dict[str, Any]:
    os._exit(7)


def refuse(args: dict[str, Any]) -> dict[str, Any]:
    raise JobError(1603, "params: no", "Post something else.")


def fault(args: dict[str, Any]) -> dict[str, Any]:
    raise ZeroDivisionError("on purpose")


def panic(args: dict[str, Any]) -> dict[str, Any]:
    raise BaseException("as Rust does")


def where(args: dict[str, Any]) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "nice": os.nice(0),
        "main": getattr(sys.modules["__main__"], "__file__", None),
    }


_kept: list[bytes] = []


def keep(args: dict[str, Any]) -> dict[str, Any]:
    _kept.append(b"x" * args["bytes"])
    return {}


def nap(args: dict[str, Any]) -> dict[str, Any]:
    time.sleep(args["seconds"])
    return args


def name_a_parameter(connection: Any, spec: str) -> None:
    import numpy as np
    from qiskit.circuit import Parameter

    connection.send([str(Parameter("a").uuid), float(np.random.random())])
