"""Checks of bit flips around learning circuits: shots in which a qubit didn't flip as it should are left out.

Before or after a circuit, slow X pulses flip each qubit between two measurements; a qubit that doesn't follow
was disturbed by something that isn't Markovian noise. Circuits and rules are those of `qiskit_mitigation` and
`qiskit_noise_learning`, which the client's executor-based noise learner calls too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ketline.programs.failures import bad_option
from ketline.programs.items import bits_of

if TYPE_CHECKING:
    from qiskit.transpiler import PassManager

    from ketline.programs.base import ProgramContext
    from ketline.units.work import ItemOutcome


@dataclass(frozen=True, slots=True)
class Check:
    """One kind of check: the pulse, ``rx`` or ``xslow``, and what counts as failed, ``node`` or ``edge``."""

    pulse: str
    strategy: str


@dataclass(frozen=True, slots=True)
class Checks:
    """Which checks are made, before and after the circuits."""

    pre: Check | None = None
    post: Check | None = None

    def __bool__(self) -> bool:
        return self.pre is not None or self.post is not None

    def to_tree(self) -> list[Any]:
        """JSON values."""
        return [[check.pulse, check.strategy] if check else None for check in (self.pre, self.post)]

    @classmethod
    def from_tree(cls, tree: list[Any]) -> Checks:
        """What `to_tree` gave."""
        return cls(*(Check(*check) if check else None for check in tree))

    def pass_manager(self, context: ProgramContext) -> PassManager | None:
        """What adds the checks to a circuit; None without checks."""
        if not self:
            return None
        from qiskit.transpiler import PassManager
        from qiskit_mitigation.postselection import passes

        coupling = context.device.target.build_coupling_map()
        steps: list[Any] = []
        if self.pre is not None:
            steps += [
                passes.AddPreCircuitNonMarkovianErrorChecks(self.pre.pulse),
                passes.AddSpectatorPreCircuitNonMarkovianErrorChecks(coupling, self.pre.pulse),
            ]
        if self.post is not None:
            steps += [
                passes.AddPostCircuitNonMarkovianErrorChecks(self.post.pulse),
                passes.AddSpectatorPostCircuitNonMarkovianErrorChecks(coupling, self.post.pulse),
            ]
        return PassManager(steps)

    def stage(self) -> Any:
        """What leaves shots out before a fit; None without checks."""
        from qiskit_noise_learning.analysis.flip_post_select import FlipPostSelect, suffix_creg_identifier

        stage = None
        for suffix, check in self._by_suffix():
            own = FlipPostSelect(creg_identifier=suffix_creg_identifier(suffix), mode=check.strategy)
            stage = own if stage is None else stage + own
        return stage

    def flipped(
        self, outcome: ItemOutcome, registers: dict[str, int], shape: tuple[int, ...]
    ) -> list[tuple[Check, str, NDArray[np.bool_]]]:
        """Which bits of every checked register did as they should: bool ``(*shape, shots, size)``."""
        found = []
        for suffix, check in self._by_suffix():
            for name, size in registers.items():
                if not name.endswith(suffix):
                    continue
                second = bits_of(outcome, name, size, shape)
                base = name.removesuffix(suffix)
                if base in registers:
                    found.append((check, base, bits_of(outcome, base, size, shape) != second))
                else:
                    found.append((check, name, ~second))
        return found

    def _by_suffix(self) -> list[tuple[str, Check]]:
        from qiskit_mitigation.postselection.constants import (
            DEFAULT_POST_CHECK_SUFFIX,
            DEFAULT_PRE_CHECK_SUFFIX,
        )

        pairs = ((DEFAULT_PRE_CHECK_SUFFIX, self.pre), (DEFAULT_POST_CHECK_SUFFIX, self.post))
        return [(suffix, check) for suffix, check in pairs if check is not None]


def kept_shots(
    flipped: list[tuple[Check, str, NDArray[np.bool_]]],
    qubits: dict[str, list[int]],
    neighbours: set[tuple[int, int]],
) -> NDArray[np.bool_]:
    """Which shots pass all checks; ``qubits`` are those of each register's bits."""
    kept = np.ones(flipped[0][2].shape[:-1], np.bool_)
    for check, name, good in flipped:
        if check.strategy == "node":
            kept &= good.all(axis=-1)
            continue
        places = qubits[name]
        for i, one in enumerate(places):
            for j in range(i + 1, len(places)):
                if (one, places[j]) in neighbours or (places[j], one) in neighbours:
                    kept &= good[..., i] | good[..., j]
    return kept


def read_checks(options: Any, context: ProgramContext) -> Checks:
    """The checks that options of the noise learner ask for; ``post_selection`` is the older name of one.

    Raises:
        JobError: the device doesn't have the pulse.
    """
    asked: dict[str, Any] = {"post_selection": getattr(options, "post_selection", None)}
    if (checks := getattr(options, "bit_flip_checks", None)) is not None:
        asked["bit_flip_checks.pre_circuit"] = checks.pre_circuit
        asked["bit_flip_checks.post_circuit"] = checks.post_circuit
    found: dict[str, Check] = {}
    for name, check in asked.items():
        if check is None or not check.enable:
            continue
        pulse = check.x_pulse_type
        if pulse not in context.device.target.operation_names:
            raise bad_option(
                f"{name}.x_pulse_type",
                f"{context.device.name} has no gate {pulse}.",
                "Choose another pulse or backend, or turn the check off.",
            )
        found["pre" if "pre" in name else "post"] = Check(pulse, check.strategy)
    return Checks(found.get("pre"), found.get("post"))
