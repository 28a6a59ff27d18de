"""What can be seen of OpenQASM 3 text before a reader builds what it announces.

The reader makes registers of any size, and expands gates that are defined by gates while it reads.
"""

from __future__ import annotations

import math
import re

from ketline.programs.failures import unreadable
from ketline.programs.wire.qpy_files import MAX_CLBITS, MAX_QUBITS

MAX_EXPANSION = 10_000
"""Gates that one definition may come to, those within its gates counted."""

_COMMENT = re.compile(r"//[^\n]*|/\*(?:(?!\*/).)*(?:\*/|\Z)", re.DOTALL)
_DECLARED = re.compile(r"\b(?:(qubit|bit|u?int|float|angle|complex)\s*|([qc]reg)\s+\w+\s*)\[([^\[\];]*)\]")
_PHYSICAL = re.compile(r"\$(\d+)")
_INTEGER = re.compile(r"0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|[0-9][0-9_]*")
_GATE = re.compile(r"\bgate\s+(\w+)(?:(?!\bgate\b)[^{;])*\{([^{}]*)\}")
_CALLED = re.compile(r"^\s*(?:[^;@]*@)*\s*(\w+)")


def check_qasm3(text: str, field: str) -> None:
    """Refuse sizes that aren't possible and gates that grow beyond all measure.

    Raises:
        JobError: naming the size or the gate.
    """
    bare = _COMMENT.sub(" ", text)
    for version in (text, bare):
        # What looks like a comment may not be one, in an annotation for instance.
        _check_sizes(version, field)
    _check_gates(bare, field)


def _check_sizes(text: str, field: str) -> None:
    qubits = clbits = 0.0
    for match in _DECLARED.finditer(text):
        size = _largest(match[3])
        if size > MAX_QUBITS:
            raise unreadable(field, f"a size of {match[3].strip()[:20]} isn't possible.")
        if match[1] == "qubit" or match[2] == "qreg":
            qubits += size
        else:
            clbits += size
    if qubits > MAX_QUBITS or clbits > MAX_CLBITS:
        raise unreadable(field, f"registers of {qubits:.0f} qubits and {clbits:.0f} bits aren't possible.")
    for match in _PHYSICAL.finditer(text):
        if len(match[1]) > 8 or int(match[1]) >= MAX_QUBITS:
            raise unreadable(field, f"the qubit ${match[1][:20]} isn't possible.")


def _largest(expression: str) -> float:
    """A bound on what an expression of whole numbers comes to."""
    found = _INTEGER.findall(expression)
    if any(len(number) > 40 for number in found) or re.search(r"\*\*|<<", expression):
        return math.inf
    sizes = [_integer(number) for number in found]
    return math.prod(max(size, 2) for size in sizes) if len(sizes) > 1 else sum(sizes)


def _integer(number: str) -> int:
    digits = number.replace("_", "")
    return int(digits, 0) if digits[1:2].isalpha() else int(digits)


def _check_gates(text: str, field: str) -> None:
    sizes: dict[str, int] = {}
    for match in _GATE.finditer(text):
        calls = [_CALLED.match(statement) for statement in match[2].split(";")]
        size = sum(sizes.get(call[1], 1) for call in calls if call is not None)
        if size > MAX_EXPANSION:
            raise unreadable(
                field,
                f"the gate {match[1][:40]} comes to {size} gates; {MAX_EXPANSION} may stand in one.",
                "Write the gates themselves.",
            )
        sizes[match[1]] = size
