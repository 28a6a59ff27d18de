"""How programs say what is wrong with a job: one function a kind, codes and words from `ketline.errors`."""

from __future__ import annotations

from ketline.errors import (
    CIRCUIT_REJECTED,
    INPUT_NOT_READ,
    LIMIT_EXCEEDED,
    NOT_IN_TARGET,
    OPTION_REFUSED,
    ErrorKind,
)
from ketline.units.errors import JobError


def _made(kind: ErrorKind, solution: str, **fields: object) -> JobError:
    return JobError(kind.code, kind.message.format(**fields), solution or kind.solution.format(**fields))


def unreadable(field: str, problem: str, solution: str = "") -> JobError:
    """A part of the payload can't be read."""
    return _made(INPUT_NOT_READ, solution, field=field, problem=problem)


def rejected(field: str, problem: str, solution: str = "") -> JobError:
    """A circuit, or what is asked of it, makes no sense on this device."""
    return _made(CIRCUIT_REJECTED, solution, field=field, problem=problem)


def not_isa(name: str, qubits: tuple[int, ...]) -> JobError:
    """An instruction isn't one of the device's. IBM's words."""
    return _made(NOT_IN_TARGET, "", name=name, qubits=qubits)


def beyond_limit(what: str, value: float, limit: float, solution: str = "") -> JobError:
    """A limit of ``modes.md`` 1.4 is exceeded."""
    return _made(LIMIT_EXCEEDED, solution, what=what, value=value, limit=limit)


def bad_option(name: str, problem: str, solution: str = "") -> JobError:
    """An option has a value that isn't allowed, or isn't known."""
    return _made(OPTION_REFUSED, solution, name=name, problem=problem)
