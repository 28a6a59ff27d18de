"""Arrays: ``numpy.save`` bytes (legacy programs) and tensors (executor, noise learner)."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ketline.programs.failures import unreadable
from ketline.programs.wire.unpack import Budget
from ketline.units.errors import JobError

_MAX_DIMENSIONS = 32
_HEADER = 1 << 17
"""More than any header takes that numpy would read."""
_PIECE = 1 << 17
_KINDS = "biufc"
_DTYPES = {
    "f16": "<f2", "f32": "<f4", "f64": "<f8", "bool": "?", "i8": "<i1", "i16": "<i2", "i32": "<i4",
    "i64": "<i8", "u8": "<u1", "u16": "<u2", "u32": "<u4", "u64": "<u8", "c64": "<c8", "c128": "<c16",
}  # fmt: skip
PLAIN_DTYPES = frozenset({"f64", "bool", "u8", "c128"})
"""The dtypes of uncompressed tensors."""


def read_npy(raw: bytes | bytearray, field: str) -> NDArray[Any]:
    """An array of numbers from the bytes of ``numpy.save``; objects and structures are refused.

    It looks at ``raw`` itself, which nobody may change or copy.

    Raises:
        JobError: the header lies about what follows, or asks for anything but numbers.
    """
    buffer = io.BytesIO(memoryview(raw)[:_HEADER])
    try:
        version = np.lib.format.read_magic(buffer)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(buffer)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(buffer)
        else:
            raise unreadable(field, f"format {version} of numpy.save isn't supported.")
    except JobError:
        raise
    except Exception as error:  # noqa: BLE001 - the header is Python text; reading it fails in many ways
        raise unreadable(field, f"not an array of numpy.save: {_short(error)}") from None
    if dtype.kind not in _KINDS or dtype.hasobject:
        raise unreadable(field, f"an array of {dtype}; only numbers are read.")
    start = buffer.tell()
    check_shape(shape, field)
    if math.prod(shape) * dtype.itemsize != len(raw) - start:
        raise unreadable(field, f"shape {shape} of {dtype} doesn't fit {len(raw) - start} bytes.")
    order: Any = "F" if fortran else "C"
    return np.frombuffer(raw, dtype, math.prod(shape), start).reshape(shape, order=order)


def read_tensor(model: object, budget: Budget, field: str, *, compressed: bool) -> NDArray[Any]:
    """An array from ``{"data", "shape", "dtype"}`` (``rest.md`` E.4).

    Raises:
        JobError: a key is missing, or shape, dtype and data don't fit.
    """
    if not isinstance(model, dict) or set(model) != {"data", "shape", "dtype"}:
        raise unreadable(field, "not a tensor; the keys are data, shape and dtype.")
    dtype = model["dtype"]
    if not isinstance(dtype, str) or dtype not in _DTYPES or (not compressed and dtype not in PLAIN_DTYPES):
        raise unreadable(field, f"dtype {dtype!r} isn't supported.")
    shape = read_shape(model["shape"], f"{field}.shape")
    size = math.prod(shape)
    raw = (budget.inflate if compressed else budget.plain)(model["data"], f"{field}.data")
    if dtype == "bool":
        if math.ceil(size / 8) != len(raw):
            raise unreadable(field, f"shape {shape} of bool doesn't fit {len(raw)} bytes.")
        bits = np.unpackbits(np.frombuffer(raw, dtype=np.uint8), count=size, bitorder="little")
        return bits.astype(bool).reshape(shape)
    if size * np.dtype(_DTYPES[dtype]).itemsize != len(raw):
        raise unreadable(field, f"shape {shape} of {dtype} doesn't fit {len(raw)} bytes.")
    return np.frombuffer(raw, dtype=_DTYPES[dtype]).reshape(shape)


def read_shape(value: object, field: str) -> tuple[int, ...]:
    """A shape: a list of at most 32 whole numbers that aren't negative."""
    if not isinstance(value, list) or not all(type(n) is int for n in value):
        raise unreadable(field, "not a list of whole numbers.")
    check_shape(tuple(value), field)
    return tuple(value)


def check_shape(shape: tuple[int, ...], field: str) -> None:
    """Refuse shapes that numpy would choke on."""
    if len(shape) > _MAX_DIMENSIONS or any(n < 0 or n > 2**40 for n in shape) or math.prod(shape) > 2**40:
        raise unreadable(field, f"the shape {str(shape)[:80]} isn't possible.")


def real_array(value: object, field: str) -> NDArray[np.float64]:
    """Numbers, nested lists of them or an array, as float64; finite values only.

    Raises:
        JobError: anything else, ragged lists included.
    """
    try:
        array = np.asarray(value)
    except ValueError:
        raise unreadable(field, "ragged nested lists.") from None
    if array.size == 0:
        array = array.astype(np.float64) if array.dtype.kind in "fO" else array
    if array.dtype.kind not in "biuf":
        raise unreadable(field, f"not real numbers ({array.dtype}).")
    array = array.astype(np.float64, copy=False)
    if not all(np.isfinite(part).all() for part in _pieces(array)):
        raise unreadable(field, "a value isn't finite.")
    return array


def _pieces(array: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """An array a little at a time, so that looking at it takes no more memory."""
    flat = array.reshape(-1, order="A") if array.flags.forc else array.reshape(-1)
    for start in range(0, flat.size, _PIECE):
        yield flat[start : start + _PIECE]


def _short(error: BaseException) -> str:
    return str(error)[:200]
