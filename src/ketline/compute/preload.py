"""Imported by the fork server before anything else: what it loads from here on, it must load without threads.

OpenBLAS starts its threads when NumPy is imported, and a process with threads can't be forked safely. The
libraries that do heavy work in parallel (Aer, Qiskit) start theirs when they are first used, in the child.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("QISKIT_PARALLEL", "FALSE")
