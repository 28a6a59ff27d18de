"""The executor's params and results in all versions (``rest.md`` E.4)."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from ketline.programs.boxes import unboxed
from ketline.programs.failures import rejected, unreadable
from ketline.programs.items import Item
from ketline.programs.wire.arrays import read_shape, read_tensor, real_array
from ketline.programs.wire.circuits import load_qasm3
from ketline.programs.wire.fields import a_list, known_keys, one_of, whole
from ketline.programs.wire.guard import guarded
from ketline.programs.wire.qpy_files import QpyStream, load_qpy
from ketline.programs.wire.samplexes import bind_arguments, read_samplex
from ketline.programs.wire.unpack import Budget

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

    from ketline.programs.base import Params
    from ketline.units.work import MeasLevel

_DTYPE_NAMES = {
    "f2": "f16", "f4": "f32", "f8": "f64", "b1": "bool", "i1": "i8", "i2": "i16", "i4": "i32", "i8": "i64",
    "u1": "u8", "u2": "u16", "u4": "u32", "u8": "u64", "c8": "c64", "c16": "c128",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Version:
    """How a version of the schema differs from the others."""

    name: str
    newest_samplex: int | None
    newest_qpy: int | None
    compressed: bool = False
    shared_circuits: bool = True
    """All circuits in one place, instead of each in its item."""
    levels: tuple[str, ...] = ("classified", "kerneled", "avg_kerneled", "both")
    item_metadata: bool = True
    passthrough: bool = True
    role: bool = True


VERSIONS = {
    version.name: version
    for version in (
        Version(
            "v0.1", 1, 16, shared_circuits=False, levels=("classified",), item_metadata=False,
            passthrough=False, role=False,
        ),
        Version(
            "v0.2", 2, 17, shared_circuits=False, levels=("classified", "kerneled", "avg_kerneled"),
            role=False,
        ),
        Version("v1.0", 3, 17),
        Version("v1.1", 4, 17),
        Version("v2.0", None, None, compressed=True),
    )
}  # fmt: skip


@dataclass(slots=True)
class PostedProgram:
    """What an executor job asks for; each of its items is opened when it is its turn."""

    version: Version
    items: Iterator[Item]
    meas_level: MeasLevel
    semantic_role: str | None
    init_qubits: bool
    rep_delay: Any
    scheduler_timing: bool
    stretch_values: bool
    experimental: dict[str, Any]


def read_program(params: Params, budget: Budget) -> PostedProgram:
    """Read the params of an executor job.

    Raises:
        JobError: a version that isn't supported, or a part that can't be read.
    """
    known_keys(params.tree, {"schema_version", "quantum_program", "options"}, "params")
    name = params.tree.get("schema_version")
    if not isinstance(name, str) or name not in VERSIONS:
        raise unreadable(
            "schema_version",
            f"{name!r} isn't supported; supported are {', '.join(VERSIONS)}.",
            "Update the client.",
        )
    version = VERSIONS[name]
    allowed = {"shots", "items"}
    if version.shared_circuits:
        allowed |= {"circuits"}
    if len(version.levels) > 1:
        allowed |= {"meas_level"}
    if version.passthrough:
        allowed |= {"passthrough_data"}
    if version.role:
        allowed |= {"semantic_role"}
    program = known_keys(params.tree.get("quantum_program"), allowed, "quantum_program")
    shots = whole(program.get("shots"), "quantum_program.shots")
    posted = a_list(program.get("items"), "quantum_program.items")
    if not posted:
        raise unreadable("quantum_program.items", "there are no items.", "Add an item to the program.")
    level = one_of(program.get("meas_level", "classified"), version.levels, "meas_level")
    role = program.get("semantic_role")
    if role is not None and not isinstance(role, str):
        raise unreadable("quantum_program.semantic_role", "neither text nor null.")
    items = _read_items(program, posted, shots, version, budget)
    return PostedProgram(
        version, items, cast("MeasLevel", level), role, **_read_options(params.tree, version)
    )


def _read_items(
    program: dict[str, Any], posted: list[Any], shots: int, version: Version, budget: Budget
) -> Iterator[Item]:
    circuits = _read_circuits(program, posted, version, budget)
    automatic = set()
    for number, (value, circuit) in enumerate(zip(posted, circuits, strict=True)):
        item = _read_item(value, circuit, shots, version, budget, f"quantum_program.items[{number}]")
        automatic.add(item.chunk_size is None)
        if len(automatic) > 1:
            raise unreadable(
                "quantum_program.items", "chunk_size is a number in some items and auto in others."
            )
        yield item


def _read_options(tree: dict[str, Any], version: Version) -> dict[str, Any]:
    allowed = {"init_qubits", "rep_delay"}
    if version.item_metadata:
        allowed |= {"scheduler_timing", "stretch_values", "experimental"}
    options = known_keys(tree.get("options", {}), allowed, "options")
    read = {
        "init_qubits": options.get("init_qubits", True),
        "rep_delay": options.get("rep_delay"),
        "scheduler_timing": options.get("scheduler_timing", False),
        "stretch_values": options.get("stretch_values", False),
        "experimental": options.get("experimental", {}),
    }
    for name in ("init_qubits", "scheduler_timing", "stretch_values"):
        if not isinstance(read[name], bool):
            raise unreadable(f"options.{name}", f"{read[name]!r} is neither true nor false.")
    return read


def _read_circuits(
    program: dict[str, Any], items: list[Any], version: Version, budget: Budget
) -> Iterator[QuantumCircuit]:
    if not version.shared_circuits:
        for number, item in enumerate(items):
            field = f"quantum_program.items[{number}].circuit"
            holder = known_keys(
                item.get("circuit") if isinstance(item, dict) else None, {"circuit_b64", "qpy_version"}, field
            )
            raw = budget.plain(holder.get("circuit_b64"), field)
            _check_version(raw[6] if len(raw) > 6 else None, holder.get("qpy_version"), version, field)
            yield from load_qpy(raw, field, count=1)
        return
    field = "quantum_program.circuits"
    holder = known_keys(program.get("circuits"), {"b64_data", "qpy_version", "num_programs", "data"}, field)
    if "data" in holder:
        texts = a_list(holder["data"], f"{field}.data")
        if version.name != "v2.0":
            raise unreadable(field, f"OpenQASM text isn't part of schema {version.name}.", "Post QPY.")
        if len(texts) != len(items):
            raise unreadable(field, f"{len(texts)} circuits for {len(items)} items.")
        for number, text in enumerate(texts):
            yield load_qasm3(text, f"{field}.data[{number}]")
        return
    stream = QpyStream(budget.pieces(holder.get("b64_data"), field, compressed=version.compressed), field)
    _check_version(stream.version, holder.get("qpy_version"), version, field)
    if holder.get("num_programs") != len(items):
        raise unreadable(field, f"{holder.get('num_programs')!r} circuits for {len(items)} items.")
    yield from stream.circuits(len(items))


def _check_version(written: int | None, announced: object, version: Version, field: str) -> None:
    if announced != written:
        raise unreadable(field, f"qpy_version is {announced!r}, and the QPY says {written}.")
    if version.newest_qpy is not None and written is not None and written > version.newest_qpy:
        raise unreadable(field, f"QPY {written} isn't part of schema {version.name}.", "Update the client.")


def _read_item(
    value: object, circuit: QuantumCircuit, shots: int, version: Version, budget: Budget, field: str
) -> Item:
    if not isinstance(value, dict):
        raise unreadable(field, "not an object.")
    allowed = {"item_type", "chunk_size", "shape"} | (set() if version.shared_circuits else {"circuit"})
    kind = value.get("item_type", "circuit")
    chunk = value.get("chunk_size", "auto")
    chunk_size = None if chunk == "auto" else whole(chunk, f"{field}.chunk_size")
    asked = read_shape(value.get("shape", []), f"{field}.shape")
    if kind == "circuit":
        known_keys(value, allowed | {"circuit_arguments"}, field)
        arguments = read_tensor(
            value.get("circuit_arguments"),
            budget,
            f"{field}.circuit_arguments",
            compressed=version.compressed,
        )
        return circuit_item(circuit, arguments, asked, shots, chunk_size, field)
    if kind == "samplex":
        known_keys(value, allowed | {"samplex", "samplex_arguments"}, field)
        samplex = read_samplex(value.get("samplex"), version.newest_samplex, budget, f"{field}.samplex")
        bound = bind_arguments(
            samplex, value.get("samplex_arguments", {}), budget, f"{field}.samplex_arguments",
            compressed=version.compressed,
        )  # fmt: skip
        shape = joined_shape(bound.shape, asked, field)
        return Item(circuit, shape, shots, samplex=samplex, samplex_arguments=bound, chunk_size=chunk_size)
    raise unreadable(f"{field}.item_type", f"{kind!r} is neither circuit nor samplex.")


def circuit_item(
    circuit: QuantumCircuit,
    arguments: NDArray[Any],
    asked: tuple[int, ...],
    shots: int,
    chunk_size: int | None,
    field: str,
) -> Item:
    """A circuit item with arguments of shape ``(…, circuit.num_parameters)``.

    Raises:
        JobError: the last axis doesn't fit the circuit, or the shapes don't broadcast.
    """
    plain: QuantumCircuit = guarded(lambda: unboxed(circuit, field), field, "a circuit")
    count = plain.num_parameters
    if arguments.ndim == 0 or arguments.shape[-1] != count:
        raise unreadable(
            f"{field}.circuit_arguments",
            f"the last axis of shape {arguments.shape} isn't the circuit's {count} parameters.",
        )
    values = real_array(arguments, f"{field}.circuit_arguments")
    return Item(plain, joined_shape(values.shape[:-1], asked, field), shots, values, chunk_size=chunk_size)


def joined_shape(own: tuple[int, ...], asked: tuple[int, ...], field: str) -> tuple[int, ...]:
    """The shape of an item: its arguments' own, broadcast with the one that was asked for.

    Raises:
        JobError: they don't broadcast, or an axis is empty.
    """
    try:
        shape = np.broadcast_shapes(own, asked)
    except ValueError:
        raise unreadable(f"{field}.shape", f"{asked} doesn't broadcast with the arguments' {own}.") from None
    if 0 in shape:
        raise rejected(field, f"the shape {shape} is empty.", "Give at least one parameter set.")
    return shape


def write_tensor(array: NDArray[Any], *, compressed: bool) -> dict[str, Any]:
    """An array as a tensor of the wire, little-endian and in C order; bool is packed, lowest bit first."""
    kind = f"{array.dtype.kind}{array.dtype.itemsize}"
    if kind == "b1":
        raw = np.packbits(array, bitorder="little").tobytes()
    else:
        raw = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
    if compressed:
        raw = zlib.compress(raw, 1)
    return {"data": base64.b64encode(raw).decode(), "shape": list(array.shape), "dtype": _DTYPE_NAMES[kind]}
