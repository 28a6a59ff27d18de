"""Values that the client's encoder wraps as ``{"__type__": …, "__value__": …}`` (``rest.md`` E.1).

Only the kinds below are read. ``settings`` and ``_json`` name modules and classes; nothing is ever imported
by such a name: the few kinds that the programs need are compared with and built here.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from ketline.programs.failures import unreadable
from ketline.programs.wire.arrays import read_npy
from ketline.programs.wire.unpack import Budget


def kind_of(value: object) -> str | None:
    """The ``__type__`` of a wrapped value; None for anything else."""
    if isinstance(value, dict) and "__type__" in value:
        kind = value["__type__"]
        return kind if isinstance(kind, str) else ""
    return None


def read_array(value: object, budget: Budget, field: str) -> NDArray[Any]:
    """An array: wrapped, or plain numbers in nested lists.

    Raises:
        JobError: it is neither.
    """
    kind = kind_of(value)
    if kind == "ndarray":
        inner = value["__value__"] if isinstance(value, dict) and "__value__" in value else None
        if isinstance(inner, str):
            return read_npy(budget.inflate(inner, field), field)
        value = inner
    elif kind is not None or isinstance(value, (dict, str, bool)) or value is None:
        raise unreadable(field, f"{kind or type(value).__name__} instead of an array.")
    return nested_numbers(value, budget, field)


def nested_numbers(value: object, budget: Budget, field: str) -> NDArray[Any]:
    """Numbers in nested lists; wrapped arrays may stand among them (``object`` arrays of the client)."""
    plain = _plain(value, budget, field)
    try:
        array = np.asarray(plain)
    except (ValueError, OverflowError):
        raise unreadable(field, "ragged nested lists.") from None
    if array.dtype.kind not in "biuf" and array.size:
        raise unreadable(field, "not real numbers.")
    return array


def _plain(value: object, budget: Budget, field: str) -> Any:
    if isinstance(value, list):
        return [_plain(part, budget, field) for part in value]
    if kind_of(value) == "ndarray":
        return read_array(value, budget, field).tolist()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise unreadable(field, f"{value!r:.80} isn't a number.")
    return value


def read_bindings(value: dict[str, Any], budget: Budget, field: str) -> dict[tuple[str, ...], NDArray[Any]]:
    """Parameter values by names: a wrapped ``BindingsArray``, or ``{"theta": [0.1, 0.2]}``."""
    if kind_of(value) == "BindingsArray":
        inner = value.get("__value__")
        data = inner.get("data") if isinstance(inner, dict) else None
        data = {} if data is None else data
        if not isinstance(data, dict):
            raise unreadable(field, "the data of a BindingsArray isn't an object.")
        return {_names(key, field): read_array(part, budget, field) for key, part in data.items()}
    if kind_of(value) is not None:
        raise unreadable(field, f"{kind_of(value)} instead of parameter values.")
    return {(key,): read_array(part, budget, f"{field}.{key}") for key, part in value.items()}


def _names(key: str, field: str) -> tuple[str, ...]:
    try:
        names = orjson.loads(key)
    except orjson.JSONDecodeError:
        names = None
    if isinstance(names, str):
        return (names,)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise unreadable(field, "the keys of a BindingsArray aren't lists of names.")
    return tuple(names)


def read_options(value: object, budget: Budget, field: str = "options") -> Any:
    """An options tree as plain JSON: arrays and sets as lists, complex numbers as pairs.

    Wrapped values of other kinds stay wrapped.
    """
    kind = kind_of(value)
    if kind == "ndarray":
        inner = value["__value__"] if isinstance(value, dict) and "__value__" in value else None
        # The client's own decoder has the same exception: names of extrapolators come wrapped like arrays.
        if isinstance(inner, str) and len(inner) < 40 and not inner.endswith("="):
            return inner
        if isinstance(inner, list) and all(isinstance(part, str) for part in inner):
            return inner
        array = read_array(value, budget, field)
        return (np.stack([array.real, array.imag], axis=-1) if array.dtype.kind == "c" else array).tolist()
    if kind in {"set", "complex", "NoiseModel"} and isinstance(value, dict):
        inner = read_options(value.get("__value__"), budget, field)
        return {"__type__": kind, "__value__": inner} if kind == "NoiseModel" else inner
    if isinstance(value, dict):
        return {key: read_options(part, budget, f"{field}.{key}") for key, part in value.items()}
    if isinstance(value, list):
        return [read_options(part, budget, field) for part in value]
    return value


def finite(value: object) -> bool:
    """Whether a value is a finite real number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
