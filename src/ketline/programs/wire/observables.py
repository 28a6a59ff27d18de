"""Observables of a PUB: one, or an array of any shape (``rest.md`` E.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ketline.programs.failures import unreadable
from ketline.programs.wire.values import finite, kind_of

LETTERS = frozenset("IXYZ01+-rl")
"""Pauli letters and the projectors that Qiskit writes."""


MOST_WORDS = 4_096
"""Of one observable, after projectors are written as sums of Paulis."""

_PROJECTORS = {"0": ("Z", 1), "1": ("Z", -1), "+": ("X", 1), "-": ("X", -1), "r": ("Y", 1), "l": ("Y", -1)}


@dataclass(frozen=True, slots=True)
class Observables:
    """Observables in C order: each maps words to real coefficients.

    A word has one letter of `LETTERS` for each qubit of the circuit, the right-most for qubit 0.
    """

    shape: tuple[int, ...]
    terms: tuple[dict[str, float], ...]

    def paulis(self, field: str) -> Observables:
        """The same in Pauli words alone: ``0`` as ``(I + Z) / 2``, ``-`` as ``(I - X) / 2`` and so on.

        Raises:
            JobError: an observable comes to more than `MOST_WORDS` words.
        """
        if all(word.strip("IXYZ") == "" for terms in self.terms for word in terms):
            return self
        return Observables(self.shape, tuple(_in_paulis(terms, field) for terms in self.terms))

    def nested(self) -> Any:
        """As nested lists, the form that Qiskit's ``ObservablesArray`` takes."""
        grid = np.empty(len(self.terms), dtype=object)
        grid[:] = self.terms
        return grid.reshape(self.shape).tolist() if self.shape else self.terms[0]


def read_observables(value: object, num_qubits: int, field: str) -> Observables:
    """Read ``{"ZZ": 1.0}``, ``"ZZ"``, ``[["ZZ", 1.0], ["XX", 0.5]]``, or nested lists of such.

    Raises:
        JobError: a wrong length, an unknown letter, a coefficient that isn't real, or ragged lists.
    """
    if kind_of(value) == "ObservablesArray" and isinstance(value, dict):
        value = value.get("__value__")
    found: list[dict[str, float]] = []
    shape = _walk(value, num_qubits, field, found)
    return Observables(shape, tuple(found))


def _walk(value: object, num_qubits: int, field: str, found: list[dict[str, float]]) -> tuple[int, ...]:
    if isinstance(value, str):
        found.append({_word(value, num_qubits, field): 1.0})
        return ()
    if isinstance(value, dict):
        if kind_of(value) is not None:
            found.append(_operator(value, num_qubits, field))
            return ()
        if not value:
            raise unreadable(field, "an observable without terms.")
        found.append({_word(word, num_qubits, field): _real(c, field) for word, c in value.items()})
        return ()
    if not isinstance(value, list):
        raise unreadable(field, f"{type(value).__name__} instead of an observable.")
    if _is_sparse(value):
        terms: dict[str, float] = {}
        for word, coefficient in value:
            key = _word(word, num_qubits, field)
            terms[key] = terms.get(key, 0.0) + _real(coefficient, field)
        found.append(terms)
        return ()
    shapes = {_walk(part, num_qubits, field, found) for part in value}
    if len(shapes) > 1:
        raise unreadable(field, "ragged nested lists of observables.")
    return (len(value), *(shapes.pop() if shapes else ()))


def _in_paulis(terms: dict[str, float], field: str) -> dict[str, float]:
    words = sum(2 ** min(sum(letter in _PROJECTORS for letter in word), 64) for word in terms)
    if words > MOST_WORDS:
        raise unreadable(
            field,
            f"projectors come to {words} Pauli words in one observable; {MOST_WORDS} can be corrected for "
            "readout errors.",
            "Use fewer projectors, or turn resilience.measure_mitigation off.",
        )
    found: dict[str, float] = {}
    for word, coefficient in terms.items():
        parts = {"": coefficient}
        for letter in word:
            if letter in _PROJECTORS:
                pauli, sign = _PROJECTORS[letter]
                parts = {
                    start + end: value * factor
                    for start, value in parts.items()
                    for end, factor in (("I", 0.5), (pauli, 0.5 * sign))
                }
            else:
                parts = {start + letter: value for start, value in parts.items()}
        for pauli_word, value in parts.items():
            found[pauli_word] = found.get(pauli_word, 0.0) + value
    return found


def _is_sparse(value: list[Any]) -> bool:
    """Whether a list is one observable in the way of ``SparsePauliOp.to_list()``."""
    return bool(value) and all(
        isinstance(term, list)
        and len(term) == 2
        and isinstance(term[0], str)
        and not isinstance(term[1], (str, list))
        and (not isinstance(term[1], dict) or kind_of(term[1]) == "complex")
        for term in value
    )


def _operator(value: dict[str, Any], num_qubits: int, field: str) -> dict[str, float]:
    """An operator that the client wrapped with its settings: ``Pauli`` or ``SparsePauliOp``."""
    inner = value.get("__value__")
    name = value.get("__class__")
    if kind_of(value) == "settings" and isinstance(inner, dict):
        data = inner.get("data")
        if name == "Pauli" and isinstance(data, str):
            return {_word(data, num_qubits, field): 1.0}
        if name == "SparsePauliOp" and isinstance(data, list):
            coefficients = inner.get("coeffs", [1.0] * len(data))
            if isinstance(coefficients, list) and len(coefficients) == len(data):
                return {
                    _word(word, num_qubits, field): _real(c, field)
                    for word, c in zip(data, coefficients, strict=True)
                }
    raise unreadable(
        field, f"{kind_of(value)} {name or ''} isn't an observable that is read here.".replace("  ", " ")
    )


def _word(word: object, num_qubits: int, field: str) -> str:
    if not isinstance(word, str) or not set(word) <= LETTERS:
        raise unreadable(field, f"{word!r:.80} isn't a word of {''.join(sorted(LETTERS))}.")
    if len(word) != num_qubits:
        raise unreadable(
            field,
            f"{word!r:.80} has {len(word)} letters; the circuit has {num_qubits} qubits.",
            "Apply the circuit's layout: observable.apply_layout(circuit.layout).",
        )
    return word


def _real(value: object, field: str) -> float:
    if kind_of(value) == "complex" and isinstance(value, dict):
        parts = value.get("__value__")
        if isinstance(parts, list) and len(parts) == 2 and finite(parts[0]) and parts[1] == 0:
            return float(parts[0])
    if not finite(value):
        raise unreadable(field, f"the coefficient {value!r:.80} isn't a finite real number.")
    return float(value)  # type: ignore[arg-type]
