"""Samplexes and their arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from ketline.programs.failures import unreadable
from ketline.programs.wire.arrays import read_tensor
from ketline.programs.wire.guard import guarded
from ketline.programs.wire.qpy_files import check_qpy_header
from ketline.programs.wire.unpack import Budget
from ketline.programs.wire.values import finite

if TYPE_CHECKING:
    from qiskit.quantum_info import PauliLindbladMap
    from samplomatic.samplex import Samplex
    from samplomatic.tensor_interface import TensorInterface

_MAX_QUBITS = 10_000
_MOST_HOLES = 100
"""By how much the numbers of a samplex's nodes may exceed how many there are."""


def read_samplex(value: object, newest: int | None, budget: Budget, field: str) -> Samplex:
    """A samplex from ``{"ssv", "samplex_json"}``, finalised; ``newest`` is the newest version allowed.

    Raises:
        JobError: an unsupported version, or JSON that isn't a samplex.
    """
    from samplomatic.serialization import samplex_from_json
    from samplomatic.ssv import SSV

    if not isinstance(value, dict) or not isinstance(value.get("samplex_json"), str):
        raise unreadable(field, "not a samplex; the keys are ssv and samplex_json.")
    version = value.get("ssv")
    limit = SSV if newest is None else min(newest, SSV)
    if type(version) is not int or not 1 <= version <= limit:
        raise unreadable(
            field,
            f"samplex version (ssv) {version!r} isn't supported; versions 1 to {limit} are.",
            "Use a client whose samplomatic writes a supported version.",
        )
    text = value["samplex_json"]
    _check_expressions(text, version, budget, field)

    def load() -> Samplex:
        made: Samplex = samplex_from_json(text).finalize()
        return made

    samplex: Samplex = guarded(load, field, "a samplex")
    return samplex


def bind_arguments(
    samplex: Samplex, values: object, budget: Budget, field: str, *, compressed: bool
) -> TensorInterface:
    """A samplex's inputs, bound with what was posted.

    Raises:
        JobError: a name isn't an input, a value has the wrong shape or type, or an input is missing.
    """
    if not isinstance(values, dict):
        raise unreadable(field, "not an object.")
    inputs: TensorInterface = guarded(
        lambda: samplex.inputs().make_broadcastable(), field, "inputs of a samplex"
    )
    for name, value in values.items():
        here = f"{field}.{name}"
        read: Any = value
        if isinstance(value, dict):
            if "sparse_terms" in value:
                read = read_pauli_lindblad_map(value, here)
            else:
                read = read_tensor(value, budget, here, compressed=compressed)
                if read.dtype.kind in "fc" and not np.isfinite(read).all():
                    raise unreadable(here, "a value isn't finite.")
        elif not isinstance(value, (bool, int)):
            raise unreadable(here, f"{type(value).__name__} can't be an argument.")

        def bind(name: str = name, read: Any = read) -> None:
            inputs[name] = read

        guarded(bind, here, "an argument that fits the samplex")
    if not inputs.fully_bound:
        missing = inputs.describe(prefix=" ", include_bound=False)
        raise unreadable(field, f"arguments are missing:{missing}")
    return inputs


def read_pauli_lindblad_map(value: dict[str, Any], field: str) -> PauliLindbladMap:
    """A noise map from ``{"sparse_terms": [[pauli, qubits, rate], …], "num_qubits"}``."""
    from qiskit.quantum_info import PauliLindbladMap

    if set(value) != {"sparse_terms", "num_qubits"}:
        raise unreadable(field, "not a noise map; the keys are sparse_terms and num_qubits.")
    qubits, terms = value["num_qubits"], value["sparse_terms"]
    if type(qubits) is not int or not 0 <= qubits <= _MAX_QUBITS or not isinstance(terms, list):
        raise unreadable(field, "num_qubits isn't a possible number, or sparse_terms isn't a list.")
    if not all(isinstance(term, list) and len(term) == 3 and finite(term[2]) for term in terms):
        raise unreadable(field, "a term isn't a word of Paulis, a list of qubits, and a finite rate.")
    made: PauliLindbladMap = guarded(
        lambda: PauliLindbladMap.from_sparse_list([(p, q, float(r)) for p, q, r in terms], qubits),
        field,
        "a noise map",
    )
    return made


def _check_expressions(text: str, version: int, budget: Budget, field: str) -> None:
    """Parameter expressions hide in a samplex as a QPY file of their own; it is held to the same rules."""
    try:
        tree = orjson.loads(text)
        header = tree["attrs"]
        highest = max((int(node["id"]) for node in tree["nodes"]), default=0)
        table = orjson.loads(header["param_table"])
        inner = table["circuit_base64"]
        written = int(header["ssv"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        raise unreadable(field, "samplex_json isn't a samplex.") from None
    if not 0 <= highest <= _MOST_HOLES * (len(tree["nodes"]) + 1):
        # A graph is as large as its highest number.
        raise unreadable(field, f"the number {highest} of a node isn't possible.")
    if written != version:
        raise unreadable(field, f"ssv is {version}, and the samplex says {written}.")
    check_qpy_header(budget.plain(inner, f"{field}.param_table"), f"{field}.param_table", 1)
