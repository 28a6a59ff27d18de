"""A circuit taken apart into components that don't touch each other.

Two qubits are of one component when an instruction joins them, or a classical bit does: one that both are
read into, or that control flow reads. Components are independent, so each is simulated by itself and their
shots are put side by side. Components in which nothing is read are left out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from qiskit.circuit import Parameter, ParameterExpression
from scipy.sparse import csr_array
from scipy.sparse.csgraph import reverse_cuthill_mckee

from ketline.qpus.reduce import Reduced, like
from ketline.qpus.schedule import classical_resources

if TYPE_CHECKING:
    from qiskit.circuit import CircuitInstruction

_MANY_QUBITS = 12


@dataclass(slots=True)
class Component:
    """Instructions on qubits of their own.

    ``qubits`` are places among the whole circuit's qubits, in order. ``static`` tells that there's no control
    flow and nothing comes after a measurement on its qubit; ``reads`` that something is measured.
    """

    qubits: list[int] = field(default_factory=list)
    instructions: list[CircuitInstruction] = field(default_factory=list)
    static: bool = True
    reads: bool = False
    resets: bool = False
    dynamic: bool = False

    def reduced(self, whole: Reduced) -> Reduced:
        """The component as a circuit, with all of the whole one's classical bits."""
        order = arranged(self.qubits, self.instructions, whole)
        inside = [whole.circuit.qubits[q] for q in order]
        small = like(whole.circuit, inside)
        append = small._append  # noqa: SLF001 - all instructions come from a circuit that is already checked
        for instruction in self.instructions:
            append(instruction)
        physical = tuple(whole.qubits[q] for q in order)
        own = set(physical)
        return Reduced(
            small,
            physical,
            {use: count for use, count in whole.uses.items() if use[1][0] in own},
            self.static and not self.resets,
            self.dynamic,
            {pair: count for pair, count in whole.entangling.items() if pair[0] in own},
            {parameter: wait for parameter, wait in whole.slow.items() if wait[0] in own},
        )


def components(whole: Reduced) -> list[Component]:
    """The components of a circuit in which something is read."""
    parent: dict[Any, Any] = {qubit: qubit for qubit in whole.circuit.qubits}

    def root(of: Any) -> Any:
        parent.setdefault(of, of)
        while parent[of] is not of:
            parent[of] = parent[parent[of]]
            of = parent[of]
        return of

    for instruction in whole.circuit.data:
        joined: list[Any] = list(instruction.qubits)
        if instruction.clbits or instruction.is_control_flow():
            joined += classical_resources(instruction)
        for other in joined[1:]:
            parent[root(other)] = root(joined[0])
    found: dict[int, Component] = {}
    for place, qubit in enumerate(whole.circuit.qubits):
        found.setdefault(id(root(qubit)), Component()).qubits.append(place)
    home = {qubit: found[id(root(qubit))] for qubit in whole.circuit.qubits}
    measured: set[Any] = set()
    for instruction in whole.circuit.data:
        if instruction.qubits:
            component: Component | None = home[instruction.qubits[0]]
        else:
            resources = [*classical_resources(instruction)]
            component = found.get(id(root(resources[0]))) if resources else None
        if component is None:
            # Control flow without qubits, on bits that nothing is read into.
            continue
        component.instructions.append(instruction)
        if instruction.is_control_flow():
            component.static, component.dynamic, component.reads = False, True, True
        elif instruction.name == "measure":
            component.reads = True
            component.static = component.static and instruction.qubits[0] not in measured
            measured.add(instruction.qubits[0])
        else:
            component.resets = component.resets or instruction.name == "reset"
            component.static = component.static and measured.isdisjoint(instruction.qubits)
    return [component for component in found.values() if component.reads]


def arranged(places: list[int], instructions: Iterable[CircuitInstruction], whole: Reduced) -> list[int]:
    """Qubits in an order in which those that gates join are near to each other, as matrix products like it.

    Args:
        places: the qubits, places among the whole circuit's.
        instructions: what happens to them.
        whole: the whole circuit.
    """
    if len(places) < _MANY_QUBITS:
        return places
    index = {whole.circuit.qubits[place]: i for i, place in enumerate(places)}
    joined = {
        (index[a], index[b])
        for instruction in instructions
        for a, b in itertools.pairwise(instruction.qubits)
    }  # fmt: skip
    if not joined:
        return places
    rows, columns = np.asarray(sorted(joined)).T
    graph = csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(places), len(places)))
    return [places[i] for i in reverse_cuthill_mckee(csr_array(graph + graph.T), symmetric_mode=True)]


def plain(instructions: Iterable[CircuitInstruction], turning: frozenset[str]) -> bool:
    """Whether every parameter of instructions is a plain one of these rotations."""
    for instruction in instructions:
        for value in instruction.params:
            if isinstance(value, Parameter):
                if instruction.name not in turning:
                    return False
            elif isinstance(value, ParameterExpression) and value.parameters:
                return False
    return True
