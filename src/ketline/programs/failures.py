"""How programs say what is wrong with a job: one function a kind, so that codes are written once.

Codes are those of `ketline.errors`; their meaning follows ``rest.md`` G where it is known.
"""

from __future__ import annotations

from ketline.units.errors import JobError

UNREADABLE = 1603
REJECTED = 1602
NOT_ISA = 1517
LIMIT = 9301
OPTION = 9302


def unreadable(
    field: str, problem: str, solution: str = "Post what the client's encoder writes."
) -> JobError:
    """A part of the payload can't be read."""
    return JobError(UNREADABLE, f"{field}: {problem}", solution)


def rejected(field: str, problem: str, solution: str = "Correct the circuit.") -> JobError:
    """A circuit, or what is asked of it, makes no sense on this device."""
    return JobError(REJECTED, f"{field}: {problem}", solution)


def not_isa(name: str, qubits: tuple[int, ...]) -> JobError:
    """An instruction isn't one of the device's. IBM's words."""
    return JobError(
        NOT_ISA,
        f"The instruction {name} on qubits {qubits} is not supported by the target system.",
        "Transform the circuit with generate_preset_pass_manager(backend=backend) first.",
    )


def beyond_limit(what: str, value: float, limit: float, solution: str) -> JobError:
    """A limit of ``modes.md`` 1.4 is exceeded."""
    return JobError(LIMIT, f"{what}: {value:,} exceeds the limit of {limit:,}.", solution)


def bad_option(name: str, problem: str, solution: str = "") -> JobError:
    """An option has a value that isn't allowed, or isn't known."""
    return JobError(OPTION, f"options.{name}: {problem}", solution or f"Change or remove options.{name}.")
