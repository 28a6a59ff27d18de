"""One job of a Qiskit backend: handed in, waited for, read and cancelled, whatever the backend does.

Backends differ: some give every shot's memory and some only counts, in hexadecimal or in bits; some tell the
state of a job as an enumeration and some as text. Whatever goes wrong in one is a `Fault` that says what the
backend was asked and what it answered.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ketline.qpus.driver import Fault

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qiskit.circuit import QuantumCircuit

SILENT_SECONDS = 60.0
"""How long a backend may fail to tell the state of a job before the job is given up."""

_log = logging.getLogger(__name__)


class BackendJob:
    """A job that a backend has.

    Args:
        job: the backend's.
        circuits: its circuits, without parameters.
        shots: shots of each.
        begun: when it was handed in.

    Raises:
        Fault: it isn't like a job.
    """

    def __init__(self, job: Any, circuits: Sequence[QuantumCircuit], shots: int, begun: datetime) -> None:
        self.begun = begun
        self._circuits = circuits
        self._shots = shots
        self._silent_since: float | None = None
        self._job = job
        for method in ("status", "result", "cancel"):
            if not callable(getattr(self._job, method, None)):
                raise Fault(f"the backend's job is a {type(self._job).__name__}, which has no {method}()")

    @classmethod
    def handed_in(cls, backend: Any, circuits: Sequence[QuantumCircuit], shots: int) -> BackendJob:
        """A new job.

        Raises:
            Fault: the backend doesn't take it.
        """
        options: dict[str, Any] = {"shots": shots}
        if hasattr(backend.options, "memory"):
            options["memory"] = True
        begun = datetime.now(UTC)
        try:
            job = backend.run(list(circuits), **options)
        except Exception as error:
            raise Fault(f"run() of the backend raised {_told(error)}") from error
        return cls(job, circuits, shots, begun)

    @classmethod
    def retrieved(
        cls, backend: Any, job_id: str, circuits: Sequence[QuantumCircuit], shots: int, begun: datetime
    ) -> BackendJob:
        """A job that was handed in before, by its id.

        Raises:
            LookupError: the backend doesn't find it.
        """
        try:
            job = backend.retrieve_job(job_id)
        except Exception as error:
            raise LookupError(f"retrieve_job({job_id!r}) of the backend raised {_told(error)}") from error
        return cls(job, circuits, shots, begun)

    @property
    def job_id(self) -> str | None:
        """By what the backend knows the job; None if it doesn't tell."""
        try:
            told = self._job.job_id()
        except Exception:  # noqa: BLE001 - then it can't be found again, and nothing else is lost
            return None
        return told if isinstance(told, str) and told else None

    def over(self) -> bool:
        """Whether the job has come to an end.

        Raises:
            Fault: it ended badly, or the backend hasn't told for `SILENT_SECONDS`.
        """
        try:
            told = self._job.status()
        except Exception as error:
            now = time.monotonic()
            self._silent_since = self._silent_since or now
            if now - self._silent_since < SILENT_SECONDS:
                return False
            raise Fault(
                f"for {SILENT_SECONDS:g} s status() of the backend's job has raised {_told(error)}"
            ) from error
        self._silent_since = None
        state = str(getattr(told, "name", told)).upper()
        if state in ("ERROR", "FAILED"):
            raise Fault(f"the backend's job failed{self._reason()}")
        if state in ("CANCELLED", "CANCELED"):
            raise Fault("the backend's job was cancelled there")
        return state in ("DONE", "COMPLETED")

    def _reason(self) -> str:
        message = getattr(self._job, "error_message", None)
        try:
            return f": {message()}"[:400] if callable(message) else ""
        except Exception as error:  # noqa: BLE001 - the reason is only an addition
            return f"; error_message() raised {_told(error)}"

    def bits(self) -> list[NDArray[np.uint8] | None]:
        """The shots of every circuit, shape ``(shots, num_clbits)``; None for one that measures nothing.

        Raises:
            Fault: the job failed, or there are fewer circuits or shots than were asked for.
        """
        try:
            result = self._job.result()
            given = result.results
        except Exception as error:
            raise Fault(f"result() of the backend's job raised {_told(error)}") from error
        if not result.success:
            each = [str(part.status) for part in given if not getattr(part, "success", True)]
            raise Fault(f"the backend's job failed: {'; '.join([str(result.status), *each])}"[:500])
        if len(given) != len(self._circuits):
            raise Fault(f"the backend gave {len(given)} results for {len(self._circuits)} circuits")
        return [self._read(part.data, circuit) for part, circuit in zip(given, self._circuits, strict=True)]

    def _read(self, data: Any, circuit: QuantumCircuit) -> NDArray[np.uint8] | None:
        memory = getattr(data, "memory", None)
        counts: Mapping[str, int] | None = getattr(data, "counts", None)
        if not memory and not counts:
            if "measure" in circuit.count_ops():
                raise Fault("the backend gave neither counts nor memory")
            return None
        try:
            if memory:
                found = bits_of(list(memory), circuit.num_clbits)
            else:
                whole = dict(counts or {})
                table = bits_of(list(whole), circuit.num_clbits)
                found = np.repeat(table, np.fromiter(whole.values(), np.int64, len(whole)), axis=0)
                # Counts have no order; shots in the order of their values would look like a trend.
                np.random.default_rng().shuffle(found)
        except (TypeError, ValueError) as error:
            raise Fault(f"the backend gave counts that can't be read: {_told(error)}") from error
        if len(found) < self._shots:
            raise Fault(f"the backend gave {len(found)} shots of {self._shots}")
        return found[: self._shots]

    def cancel(self) -> None:
        """Give the job up; a backend that can't is left to finish it by itself."""
        try:
            self._job.cancel()
        except Exception as error:  # noqa: BLE001 - the QPU is free all the same
            _log.warning("the backend's job can't be cancelled: %s", _told(error))


def bits_of(keys: Sequence[Any], num_bits: int) -> NDArray[np.uint8]:
    """Memories as bits, classical bit 0 first, shape ``(len(keys), num_bits)``.

    Args:
        keys: hexadecimal with ``0x``, or bits with a space between registers, the highest bit first.
        num_bits: classical bits of the circuit.

    Raises:
        ValueError: a key is neither, or has more bits.
    """
    rows = np.zeros((len(keys), num_bits), dtype=np.uint8)
    for row, key in zip(rows, keys, strict=True):
        text = str(key)
        number = int(text, 16) if text.lower().startswith("0x") else int(text.replace(" ", ""), 2)
        if number < 0 or number.bit_length() > num_bits:
            raise ValueError(f"{text[:80]!r} doesn't fit into {num_bits} bits")
        size = max(1, (num_bits + 7) // 8)
        own = np.frombuffer(number.to_bytes(size, "little"), dtype=np.uint8)
        row[:] = np.unpackbits(own, bitorder="little")[:num_bits]
    return rows


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:400]
