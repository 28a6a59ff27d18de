"""Work units and outcomes as files.

A file is ``b"KTL1"``, the length of a JSON header (8 bytes, little-endian), the header, and the blobs that
the header lists one after the other, each starting at a multiple of 8. Circuits are blobs of compressed QPY,
one circuit in each; arrays are raw C-order bytes whose kind and shape stand in the header. Nothing in a file
can name code. Files are written from where the data lie, since a unit may fill hundreds of megabytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ketline.units.packing import Items, PackedCircuit, PackedItem, packed
from ketline.units.work import ItemOutcome, Outcome, Span, WorkItem, WorkUnit

_MAGIC = b"KTL1"
_KINDS: dict[str, np.dtype[Any]] = {
    "f8": np.dtype("<f8"),
    "u1": np.dtype("u1"),
    "c16": np.dtype("<c16"),
}
_UNIT_FACTS = (
    "meas_level", "init_qubits", "rep_delay_seconds", "seed", "noise", "idle_noise", "mock",
    "scheduler_timing", "stretch_values", "simulator", "allow_approximation",
)  # fmt: skip


Blob = bytes | memoryview


class FormatError(ValueError):
    """A file isn't what it should be."""


@dataclass
class _Writer:
    blobs: list[Blob] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def add(self, blob: Blob) -> int:
        self.blobs.append(blob)
        self.sizes.append(blob.nbytes if isinstance(blob, memoryview) else len(blob))
        return len(self.sizes) - 1

    def array(self, values: NDArray[Any]) -> list[object]:
        kind = next((kind for kind, dtype in _KINDS.items() if dtype == values.dtype), None)
        if kind is None:
            raise FormatError(f"arrays of {values.dtype} have no place in a unit of work")
        whole = np.ascontiguousarray(values)
        return [self.add(whole.reshape(-1).view(np.uint8).data), kind, list(values.shape)]

    def parts(self, header: dict[str, Any]) -> list[Blob]:
        """The file, piece by piece."""
        header["blobs"] = self.sizes
        text = json.dumps(header).encode()
        text += b" " * (-(len(text) + 12) % 8)
        parts: list[Blob] = [_MAGIC, len(text).to_bytes(8, "little"), text]
        for blob, size in zip(self.blobs, self.sizes, strict=True):
            parts += [blob, bytes(-size % 8)]
        return parts


class _Reader:
    def __init__(self, data: bytes, kind: str) -> None:
        if data[:4] != _MAGIC:
            raise FormatError("the file doesn't begin as a unit of work or an outcome does")
        length = int.from_bytes(data[4:12], "little")
        try:
            self.header: dict[str, Any] = json.loads(data[12 : 12 + length])
            self.spans = []
            at = 12 + length
            for size in self.header["blobs"]:
                self.spans.append((at, size))
                at += size + (-size % 8)
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(f"the header can't be read: {error}") from error
        if at != len(data):
            raise FormatError(f"the file has {len(data)} bytes where its header says {at}")
        if self.header.get("kind") != kind:
            raise FormatError(f"the file holds {self.header.get('kind')!r}, not {kind!r}")
        self.data = data

    def blob(self, index: int) -> memoryview:
        at, size = self.spans[index]
        return memoryview(self.data)[at : at + size]

    def array(self, entry: list[Any]) -> NDArray[Any]:
        index, kind, shape = entry
        try:
            return np.frombuffer(self.blob(index), dtype=_KINDS[kind]).reshape(shape)
        except (KeyError, ValueError, IndexError) as error:
            raise FormatError(f"an array can't be read: {error}") from error


def unit_bytes(unit: WorkUnit) -> bytes:
    """A work unit as bytes."""
    return b"".join(_unit_parts(unit))


def _unit_parts(unit: WorkUnit) -> list[Blob]:
    writer = _Writer()
    header: dict[str, Any] = {
        "kind": "unit",
        "items": [
            {
                **_circuit(writer, item),
                "values": writer.array(np.asarray(item.parameter_values, dtype="<f8")),
                "shots": item.shots,
                "chunk_sets": item.chunk_sets,
            }
            for item in unit.items
        ],
        **{name: getattr(unit, name) for name in _UNIT_FACTS},
    }
    return writer.parts(header)


def _circuit(writer: _Writer, item: WorkItem) -> dict[str, Any]:
    circuit = packed(item)
    return {"circuit": writer.add(circuit.content), "boxed": circuit.boxed}


def unit_from_bytes(data: bytes) -> WorkUnit:
    """The work unit that `unit_bytes` wrote; its circuits stay packed until they are looked at.

    Raises:
        FormatError: the bytes are something else.
    """
    reader = _Reader(data, "unit")
    header = reader.header
    items = Items()
    for entry in header["items"]:
        if "circuit" not in entry:
            raise FormatError("the file was written by another release")
        circuit = PackedCircuit(reader.blob(entry["circuit"]), boxed=entry["boxed"])
        values = reader.array(entry["values"])
        items.append(PackedItem(circuit, values, entry["shots"], entry["chunk_sets"]))
    return WorkUnit(items=items, **{name: header[name] for name in _UNIT_FACTS})


def outcome_bytes(outcome: Outcome) -> bytes:
    """An outcome as bytes."""
    return b"".join(_outcome_parts(outcome))


def _outcome_parts(outcome: Outcome) -> list[Blob]:
    writer = _Writer()
    header: dict[str, Any] = {
        "kind": "outcome",
        "items": [
            {
                "bits": {name: writer.array(values) for name, values in item.bits.items()},
                "iq": {name: writer.array(values) for name, values in item.iq.items()},
                "duration": item.circuit_duration_seconds,
                "timing": item.timing,
                "stretch_values": item.stretch_values,
            }
            for item in outcome.items
        ],
        "spans": [
            [span.item, span.first_set, span.last_set, span.start.isoformat(), span.stop.isoformat()]
            for span in outcome.spans
        ],
        "approximations": outcome.approximations,
    }
    return writer.parts(header)


def outcome_from_bytes(data: bytes) -> Outcome:
    """The outcome that `outcome_bytes` wrote.

    Raises:
        FormatError: the bytes are something else.
    """
    reader = _Reader(data, "outcome")
    items = [
        ItemOutcome(
            bits={name: reader.array(values) for name, values in entry["bits"].items()},
            iq={name: reader.array(values) for name, values in entry["iq"].items()},
            circuit_duration_seconds=entry["duration"],
            timing=entry["timing"],
            stretch_values=cast("list[dict[str, object]] | None", entry["stretch_values"]),
        )
        for entry in reader.header["items"]
    ]
    spans = [
        Span(item, first, last, datetime.fromisoformat(start), datetime.fromisoformat(stop))
        for item, first, last, start, stop in reader.header["spans"]
    ]
    return Outcome(items, spans, reader.header["approximations"])


def write(path: Path, *parts: Blob) -> None:
    """Write a file, made of some parts, completely or not at all."""
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("wb") as file:
        file.writelines(parts)
    unfinished.replace(path)


def write_unit(path: Path, unit: WorkUnit) -> None:
    """Write a work unit to a file, completely or not at all."""
    write(path, *_unit_parts(unit))


def read_unit(path: Path) -> WorkUnit:
    """Read the work unit in a file; `FormatError` when it holds something else."""
    return unit_from_bytes(path.read_bytes())


def write_outcome(path: Path, outcome: Outcome) -> None:
    """Write an outcome to a file, completely or not at all."""
    write(path, *_outcome_parts(outcome))


def read_outcome(path: Path) -> Outcome:
    """Read the outcome in a file; `FormatError` when it holds something else."""
    return outcome_from_bytes(path.read_bytes())
