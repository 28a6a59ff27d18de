"""One unit of work being run: Aer calls in small pieces, results put together, time kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from qiskit_aer import AerSimulator

from ketline.errors import QPU_OUT_OF_MEMORY
from ketline.qpus.chain import in_order
from ketline.qpus.counts import Shots
from ketline.qpus.driver import Fault
from ketline.units.errors import JobError
from ketline.units.work import Span

if TYPE_CHECKING:
    from ketline.qpus.frames import Frames
    from ketline.qpus.items import ReadyItem

PIECE_SECONDS = 0.25
"""Estimated length of one Aer call: how long a stop may have to wait."""

_MAX_CIRCUITS = 2_000
_SINGLE_THREAD_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows ``[first, last)`` of an item, with so many shots, as a part of an Aer call.

    Rows with parameters are an experiment each, of ``shots`` shots; rows without are one experiment together.
    ``seconds`` is the estimate. ``chunk`` counts the item's chunks, whose times are told.
    """

    number: int
    first: int
    last: int
    shots: int
    chunk: int
    seconds: float


def pieces(number: int, ready: ReadyItem) -> Iterator[Piece]:
    """Cut an item into pieces of about `PIECE_SECONDS`, the same ones every time."""
    rows, shots = ready.rows, ready.row_shots
    method = ready.method
    step = (ready.item.chunk_sets or ready.sets) * ready.repeats
    for chunk, start in enumerate(range(0, rows, step)):
        stop = min(rows, start + step)
        if not ready.values:
            yield from _cut(number, start, stop, shots * (stop - start), chunk, ready)
            continue
        one = method.seconds(1, shots)
        if one > PIECE_SECONDS:
            for place in range(start, stop):
                yield from _cut(number, place, place + 1, shots, chunk, ready)
            continue
        width = max(1, min(_MAX_CIRCUITS, int(PIECE_SECONDS / max(one, 1e-9))))
        for place in range(start, stop, width):
            end = min(stop, place + width)
            yield Piece(number, place, end, shots, chunk, method.seconds(end - place, shots))


def _cut(number: int, first: int, last: int, shots: int, chunk: int, ready: ReadyItem) -> Iterator[Piece]:
    """Cut many shots of one circuit."""
    method = ready.method
    left = PIECE_SECONDS - min(method.seconds_a_set, PIECE_SECONDS / 2)
    most = max(1, int(left / max(method.seconds_a_shot, 1e-9)))
    done = 0
    while done < shots:
        part = min(most, shots - done)
        yield Piece(number, first, last, part, chunk, method.seconds(1, part))
        done += part


def calls(items: list[ReadyItem]) -> Iterator[list[Piece]]:
    """Pieces grouped into Aer calls: neighbours with the same method, shots and noise, up to a time."""
    group: list[Piece] = []
    seconds = 0.0
    for number, ready in enumerate(items):
        for piece in pieces(number, ready):
            if group and (
                seconds + piece.seconds > PIECE_SECONDS
                or len(group) >= _MAX_CIRCUITS
                or not _alike(items[group[0].number], group[0], ready, piece)
            ):
                yield group
                group, seconds = [], 0.0
            group.append(piece)
            seconds += piece.seconds
    if group:
        yield group


def _alike(a: ReadyItem, first: Piece, b: ReadyItem, piece: Piece) -> bool:
    return (
        a.method.name == b.method.name
        and first.shots == piece.shots
        and a.source is b.source
        and bool(a.values) == bool(b.values)
    )


class Simulation:
    """The shots of a unit's items, computed call by call.

    Args:
        items: what is run.
        seed: randomness; the same seed gives the same shots on the same machine.
        memory_bytes: what Aer may take.
        name: the QPU's name, for messages.
    """

    def __init__(self, items: list[ReadyItem], seed: np.random.SeedSequence, memory_bytes: int, name: str):
        self.items = items
        self.shots = [
            Shots(ready.registers, ready.circuit.num_clbits, ready.sets, ready.item.shots) for ready in items
        ]
        self.rng = np.random.default_rng(seed)
        self._translated: dict[int, Frames] = {}
        self._memory_bytes = memory_bytes
        self._name = name

    def perform(self, group: list[Piece]) -> None:
        """Run one Aer call and take its shots in.

        Raises:
            JobError: there isn't enough memory.
            Fault: Aer failed.
        """
        ready = self.items[group[0].number]
        if ready.method.name == "none":
            return
        if ready.method.name == "pauli_frames":
            for piece in group:
                self._frames(piece)
            return
        circuits, binds = [], []
        for piece in group:
            own = self.items[piece.number]
            circuits.append(own.reduced.circuit)
            binds.append(
                {key: column[piece.first : piece.last].tolist() for key, column in own.values.items()}
            )
        # Waking threads for a moment's work costs more than it saves.
        threads = 1 if sum(piece.seconds for piece in group) < _SINGLE_THREAD_SECONDS else 0
        simulator = AerSimulator(
            method=ready.method.name,
            noise_model=ready.model(),
            max_memory_mb=max(1, self._memory_bytes // 1_000_000),
            max_parallel_threads=threads,
            max_parallel_experiments=0,
        )
        simulator.set_max_qubits(max(circuit.num_qubits for circuit in circuits))
        result = simulator.run(
            circuits,
            parameter_binds=binds if ready.values else None,
            shots=group[0].shots,
            seed_simulator=int(self.rng.integers(2**62)),
        ).result()
        if not result.success:
            self._fail(str(result.status), result)
        at = 0
        for piece in group:
            experiments = piece.last - piece.first if ready.values else 1
            for offset in range(experiments):
                counts = result.results[at].data.counts
                own = self.items[piece.number]
                taken = self.shots[piece.number]
                taken.add(self._place(piece, offset), counts, self.rng, spill=not own.values, links=own.links)
                at += 1

    def _frames(self, piece: Piece) -> None:
        """Sample one piece by Pauli frames."""
        ready = self.items[piece.number]
        translated = self._translated.get(piece.number)
        if translated is None:
            translated = self._translated[piece.number] = ready.frames()
        taken = self.shots[piece.number]
        for row in range(piece.first, piece.last) if ready.values else (None,):
            values = {} if row is None else {key: float(column[row]) for key, column in ready.values.items()}
            drawn = translated.sample(values, piece.shots, int(self.rng.integers(2**62)))
            bits = in_order(drawn, ready.links)
            place = taken.next_open(piece.first) if row is None else row
            taken.add_rows(place, bits, np.arange(len(bits)), spill=row is None)

    def _place(self, piece: Piece, offset: int) -> int:
        """The set that takes the next shots; without parameters all sets are one long row of shots."""
        ready = self.items[piece.number]
        if ready.values:
            return (piece.first + offset) // ready.repeats
        return self.shots[piece.number].next_open(piece.first)

    def _fail(self, status: str, result: Any) -> None:
        message = " ".join([status, *(str(part.status) for part in result.results)])
        if "memory" in message.lower():
            raise JobError(
                QPU_OUT_OF_MEMORY.code,
                QPU_OUT_OF_MEMORY.message.format(limit_bytes=self._memory_bytes, qpu=self._name),
                QPU_OUT_OF_MEMORY.solution,
            )
        raise Fault(message[:500])


class Clock:
    """Keeps spans, and holds the QPU as long as the real device would take, times ``pace``."""

    def __init__(self, pace: float, overhead_seconds: float) -> None:
        self.started = time.monotonic()
        self._pace = pace
        self._due = pace * overhead_seconds
        self.spans: dict[tuple[int, int], list[Any]] = {}

    def owed(self) -> float:
        """Seconds to be waited before the QPU may go on."""
        return max(0.0, self.started + self._due - time.monotonic())

    def ran(self, device_seconds: float) -> None:
        """So much of the device's time was used."""
        self._due += self._pace * device_seconds

    def mark(self, piece: Piece, repeats: int, start: datetime, stop: datetime) -> None:
        """A piece ran from ``start`` to ``stop``, ``repeats`` rows a set."""
        first, last = piece.first // repeats, -(-piece.last // repeats)
        span = self.spans.setdefault((piece.number, piece.chunk), [first, last, start, stop])
        span[0], span[1] = min(span[0], first), max(span[1], last)
        span[2], span[3] = min(span[2], start), max(span[3], stop)

    def whole(self, number: int, sets: int, start: datetime, stop: datetime) -> None:
        """All sets of an item ran from ``start`` to ``stop``."""
        self.spans[number, 0] = [0, sets, start, stop]

    def all_spans(self) -> list[Span]:
        """The spans in the order of time."""
        made = [Span(number, *values) for (number, _), values in self.spans.items()]
        return sorted(made, key=lambda span: (span.start, span.item, span.first_set))


def now() -> datetime:
    """The present, aware."""
    return datetime.now(UTC)
