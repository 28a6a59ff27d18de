"""Readers that aren't ours, and what they throw at bad input."""

from __future__ import annotations

import warnings
from typing import Any

from ketline.programs.failures import unreadable
from ketline.units.errors import JobError


def guarded(load: Any, field: str, kind: str) -> Any:
    """Run a reader that isn't ours: whatever it throws at bad input is the input's fault."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return load()
    except (KeyboardInterrupt, SystemExit, GeneratorExit, JobError):
        raise
    except MemoryError:
        raise unreadable(field, f"as {kind} it takes more memory than there is.") from None
    except BaseException as error:  # noqa: BLE001 - a panic in Qiskit's Rust code isn't an Exception
        raise unreadable(field, f"not {kind}: {type(error).__name__}: {_told(error)}") from None


def _told(error: BaseException) -> str:
    """The first line of what a reader says; some draw pictures below it."""
    lines = str(error).replace("\\n", "\n").splitlines()
    return (lines[0].strip() if lines else "")[:300]
