"""The first thing that runs in a child: makes it a quiet one that never outlives its parent."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection

_PR_SET_PDEATHSIG = 1
_STACK_BYTES = 16 << 20
"""At least what a main thread has: readers of nested circuits go deep."""


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
    _in_a_thread(lambda: getattr(importlib.import_module(module), function)(connection, spec))


def _in_a_thread(work: Callable[[], None]) -> None:
    """Do the work in a thread of its own, and end as it ends.

    Libraries in Rust keep a random generator for each thread. That of the main thread is a copy of the
    parent's, so all children would draw the same numbers: Qiskit tells parameters apart by such numbers, and
    would mix up a circuit's with those that another process made. A new thread draws from its own seed.
    NumPy's old global generator is a copy as well.
    """
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    raised: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - it is raised again
            raised.append(error)

    threading.stack_size(_STACK_BYTES)
    thread = threading.Thread(target=guarded, name="ketline-work")
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
