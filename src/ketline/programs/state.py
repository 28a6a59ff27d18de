"""What a program remembers between rounds: a tree of JSON values and arrays, as bytes.

The bytes are ``b"KTS1"``, the length of a JSON header (8 bytes, little-endian), the header, and the arrays
one after the other. In the header an array stands as ``{"__array__": [dtype, shape, offset]}``; a key that
begins like that, as the name of a register may, is written with one more underscore at its end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

_MAGIC = b"KTS1"
_KEY = "__array__"
_LARGE_BYTES = 1_000
_MANY = 100


def pack(tree: Any) -> bytes:
    """A tree of dicts with text keys, lists, tuples, scalars, bytes and arrays of numbers, as bytes."""
    blobs: list[bytes | memoryview] = []
    offset = 0

    def walk(node: Any) -> Any:
        nonlocal offset
        if isinstance(node, bytes):
            node = np.frombuffer(node, dtype="u1")
        if isinstance(node, np.generic):
            return node.item()
        if isinstance(node, np.ndarray):
            whole = np.ascontiguousarray(node)
            entry = {_KEY: [node.dtype.str, list(node.shape), offset]}
            # Large arrays are copied once, into what is returned; a view of a small one is larger than it.
            large = whole.nbytes > _LARGE_BYTES
            blobs.append(whole.reshape(-1).view(np.uint8).data if large else whole.tobytes())
            offset += whole.nbytes
            return entry
        if isinstance(node, dict):
            return {_written(str(key)): walk(value) for key, value in node.items()}
        if isinstance(node, (list, tuple)):
            if len(node) < _MANY:
                return [walk(value) for value in node]
            # Written one by one: as text each takes a tenth of what it takes as objects. The text is copied
            # because orjson's has four kilobytes, however little stands in it.
            return [orjson.Fragment(bytes(memoryview(orjson.dumps(walk(value))))) for value in node]
        return node

    header = orjson.dumps(walk(tree))
    return b"".join([_MAGIC, len(header).to_bytes(8, "little"), header, *blobs])


def unpack(data: bytes) -> Any:
    """The tree that `pack` wrote; tuples have become lists and bytes have become uint8 arrays."""
    if data[:4] != _MAGIC:
        raise ValueError("not a program's state")
    start = 12 + int.from_bytes(data[4:12], "little")
    view = memoryview(data)

    def walk(node: Any) -> Any:
        if isinstance(node, dict):
            if len(node) == 1 and _KEY in node:
                dtype, shape, offset = node[_KEY]
                count = int(np.prod(shape, dtype=np.int64))
                return np.frombuffer(view, np.dtype(dtype), count, start + offset).reshape(shape)
            return {_read(key): walk(value) for key, value in node.items()}
        if isinstance(node, list):
            return [walk(value) for value in node]
        return node

    return walk(orjson.loads(view[12:start]))


def _written(key: str) -> str:
    return f"{key}_" if key.startswith(_KEY) else key


def _read(key: str) -> str:
    return key[:-1] if key.startswith(_KEY) else key
