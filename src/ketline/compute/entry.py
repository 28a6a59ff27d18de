"""The first thing that runs in a child: makes it a quiet one that never outlives its parent."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import signal
import sys
from multiprocessing.connection import Connection

_PR_SET_PDEATHSIG = 1


def run(connection: Connection, target: str, spec: str, niceness: int) -> None:
    """Call ``target``, ``module:function``, with the connection and the spec.

    Signals of the terminal are the parent's business, and its end is the child's: a child that is in the
    middle of something is killed, an idle one sees the connection close.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if niceness:
        os.nice(niceness)
    module, _, function = target.partition(":")
    getattr(importlib.import_module(module), function)(connection, spec)
