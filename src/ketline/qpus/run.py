"""One unit of work being run: Aer calls in small pieces, results put together, time kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qiskit_aer import AerSimulator

from ketline.errors import QPU_OUT_OF_MEMORY
from ketline.qpus.chain import in_order
from ketline.qpus.counts import Shots
from ketline.qpus.driver import Fault
from ketline.qpus.methods import PIECE_SECONDS
from ketline.units.errors import JobError
from ketline.units.work import Span

if TYPE_CHECKING:
    from ketline.qpus.frames import Frames
    from ketline.qpus.items import ReadyItem
    from ketline.qpus.methods import Method
    from ketline.qpus.parts import Part
    from ketline.qpus.trajectories import Trajectories
    from ketline.qpus.transfer import Bundle

_MAX_CIRCUITS = 2_000
_MAX_BITS = 20_000_000
_OWN_METHODS = frozenset({"transfer", "trajectories", "pauli_frames", "none"})
_SINGLE_THREAD_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows ``[first, last)`` of a part of an item, with so many shots, as a share of one call.

    Rows with parameters are an experiment each, of ``shots`` shots; rows without are one experiment together.
    ``seconds`` is the estimate. ``chunk`` counts the item's chunks, whose times are told.
    """

    item: int
    part: int
    first: int
    last: int
    shots: int
    chunk: int
    seconds: float


def pieces(item: int, place: int, part: Part, chunk_sets: int | None) -> Iterator[Piece]:
    """Cut a part into pieces of about `PIECE_SECONDS`, the same ones every time."""
    rows, shots = part.rows, part.row_shots
    method = part.method
    step = (chunk_sets or part.sets) * part.repeats
    for chunk, start in enumerate(range(0, rows, step)):
        stop = min(rows, start + step)
        if not part.values:
            yield from _cut(Piece(item, place, start, stop, shots * (stop - start), chunk, 0.0), method)
            continue
        one = method.seconds(1, shots)
        if one > PIECE_SECONDS:
            for row in range(start, stop):
                yield from _cut(Piece(item, place, row, row + 1, shots, chunk, 0.0), method)
            continue
        width = max(1, min(_MAX_CIRCUITS, int(PIECE_SECONDS / max(one, 1e-9))))
        for row in range(start, stop, width):
            end = min(stop, row + width)
            yield Piece(item, place, row, end, shots, chunk, method.seconds(end - row, shots))


def _cut(whole: Piece, method: Method) -> Iterator[Piece]:
    """Cut many shots of one circuit."""
    most = method.piece_shots()
    done = 0
    while done < whole.shots:
        shots = min(most, whole.shots - done)
        yield replace(whole, shots=shots, seconds=method.seconds(1, shots))
        done += shots


def calls(items: list[ReadyItem]) -> Iterator[list[Piece]]:
    """Pieces grouped into calls: neighbours with the same method, shots and noise, up to a time.

    Chunks that an item asks for run one after the other, so that each has a time of its own.
    """
    group: list[Piece] = []
    seconds = 0.0
    for piece in _ordered(items):
        if group and (
            seconds + piece.seconds > PIECE_SECONDS
            or len(group) >= _MAX_CIRCUITS
            or not _alike(items, group[-1], piece)
        ):
            yield group
            group, seconds = [], 0.0
        group.append(piece)
        seconds += piece.seconds
    if group:
        yield group


def _ordered(items: list[ReadyItem]) -> Iterator[Piece]:
    """All pieces, those of an item chunk by chunk."""
    for number, ready in enumerate(items):
        every = (
            piece
            for place, part in enumerate(ready.parts)
            for piece in pieces(number, place, part, ready.item.chunk_sets)
        )
        yield from every if ready.item.chunk_sets is None else sorted(every, key=lambda piece: piece.chunk)


def _alike(items: list[ReadyItem], before: Piece, piece: Piece) -> bool:
    """Whether a piece can go into one call with the one before it."""
    if before.item == piece.item and before.chunk != piece.chunk:
        return False
    a, b = items[before.item].parts[before.part], items[piece.item].parts[piece.part]
    if a.method.name != b.method.name:
        return False
    if a.method.name in _OWN_METHODS:
        return True
    return before.shots == piece.shots and a.source is b.source and bool(a.values) == bool(b.values)


class Simulation:
    """The shots of a unit's items, computed call by call.

    Args:
        items: what is run.
        rng: randomness.
        memory_bytes: what Aer may take.
        name: the QPU's name, for messages.
    """

    def __init__(
        self, items: list[ReadyItem], rng: np.random.Generator, memory_bytes: int, name: str
    ) -> None:
        self.items = items
        self.shots = [
            Shots(
                ready.registers, ready.circuit.num_clbits, ready.sets, ready.item.shots, len(ready.parts) or 1
            )
            for ready in items
        ]
        self.rng = rng
        self._translated: dict[tuple[int, int], Frames] = {}
        self._samplers: dict[tuple[int, int], Bundle | Trajectories] = {}
        self._memory_bytes = memory_bytes
        self._name = name

    def perform(self, group: list[Piece]) -> None:
        """Run one call and take its shots in.

        Raises:
            JobError: there isn't enough memory.
            Fault: Aer failed.
        """
        method = self._part(group[0]).method.name
        if method == "none":
            return
        if method in ("transfer", "trajectories"):
            for piece in group:
                self._sample(piece)
        elif method == "pauli_frames":
            for piece in group:
                self._frames(piece)
        else:
            self._aer(group)

    def _part(self, piece: Piece) -> Part:
        return self.items[piece.item].parts[piece.part]

    def _aer(self, group: list[Piece]) -> None:
        """Run one call of Aer."""
        part = self._part(group[0])
        circuits, binds = [], []
        for piece in group:
            own = self._part(piece)
            circuits.append(own.reduced.circuit)
            binds.append(
                {key: column[piece.first : piece.last].tolist() for key, column in own.values.items()}
            )
        # Waking threads for a moment's work costs more than it saves.
        threads = 1 if sum(piece.seconds for piece in group) < _SINGLE_THREAD_SECONDS else 0
        simulator = AerSimulator(
            method=part.method.name,
            noise_model=part.model(),
            max_memory_mb=max(1, self._memory_bytes // 1_000_000),
            max_parallel_threads=threads,
            max_parallel_experiments=0,
            # Aer would cut off what follows the last measurement, ends of branches to which it jumps too.
            enable_truncation=not any(self._part(piece).reduced.dynamic for piece in group),
        )
        simulator.set_max_qubits(max(circuit.num_qubits for circuit in circuits))
        result = simulator.run(
            circuits,
            parameter_binds=binds if part.values else None,
            shots=group[0].shots,
            seed_simulator=int(self.rng.integers(2**62)),
        ).result()
        if not result.success:
            self._fail(str(result.status), result)
        at = 0
        for piece in group:
            own = self._part(piece)
            for row in range(piece.first, piece.last) if own.values else (None,):
                self.shots[piece.item].add(
                    self._place(piece, row), result.results[at].data.counts, self.rng,
                    spill=row is None, links=own.links, part=piece.part,
                )  # fmt: skip
                at += 1

    def _frames(self, piece: Piece) -> None:
        """Sample one piece by Pauli frames."""
        part = self._part(piece)
        key = (piece.item, piece.part)
        if key not in self._translated:
            self._translated[key] = part.frames()
        translated = self._translated[key]
        for row in range(piece.first, piece.last) if part.values else (None,):
            values = {} if row is None else {key: float(column[row]) for key, column in part.values.items()}
            bits = translated.sample(values, piece.shots, int(self.rng.integers(2**62)))
            self._add(piece, row, in_order(bits, part.links), list(range(self.shots[piece.item].num_bits)))

    def _sample(self, piece: Piece) -> None:
        """Draw the bits of one piece at once."""
        part = self._part(piece)
        key = (piece.item, piece.part)
        sampler = self._samplers.get(key)
        if sampler is None:
            sampler = self._samplers[key] = part.sampler()
        if not part.values:
            bits = sampler.sample(0, 1, piece.shots, self.rng)
            self._add(piece, None, bits[0], sampler.clbits)
            return
        step = max(1, _MAX_BITS // max(1, piece.shots * len(sampler.clbits)))
        for start in range(piece.first, piece.last, step):
            stop = min(piece.last, start + step)
            bits = sampler.sample(start, stop, piece.shots, self.rng)
            for row in range(start, stop):
                self._add(piece, row, bits[row - start], sampler.clbits)

    def _add(self, piece: Piece, row: int | None, bits: NDArray[np.uint8], clbits: list[int]) -> None:
        self.shots[piece.item].add_bits(
            self._place(piece, row), bits, clbits, spill=row is None, part=piece.part
        )

    def _place(self, piece: Piece, row: int | None) -> int:
        """The set that takes the next shots; without parameters all sets are one long row of shots."""
        part = self._part(piece)
        if row is None:
            return self.shots[piece.item].next_open(piece.first // part.repeats, piece.part)
        return row // part.repeats

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
        span = self.spans.setdefault((piece.item, piece.chunk), [first, last, start, stop])
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
