"""A pub's circuit at every noise factor that is reached by folding gates, drawn at all of its points."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit

from ketline.programs.mitigation.folded import FoldedTemplate, fold_template
from ketline.programs.mitigation.folding import Folding
from ketline.programs.mitigation.measuring import Dressed, dress, with_measurement
from ketline.programs.mitigation.recipe import Pub, Recipe
from ketline.programs.mitigation.twirling import Drawn, Template, template_bytes, twirl
from ketline.programs.recurring import Memory
from ketline.units.packing import circuit_bytes


def key_of_circuit(pub: Pub, qubits: list[int], recipe: Recipe, *more: Hashable) -> Hashable | None:
    """What determines a circuit that is made of a pub's circuit; None if that isn't to be kept."""
    if pub.key is None:
        return None
    return (
        "estimated",
        pub.key,
        tuple(qubits),
        recipe.twirl_gates,
        recipe.twirl_measures,
        recipe.strategy,
        *more,
    )


def measured_template(
    pub: Pub, qubits: list[int], recipe: Recipe, memory: Memory
) -> tuple[Hashable | None, Template, str]:
    """A pub's circuit with twirled gates and a measurement of ``qubits`` whose basis is an input.

    Noise can be injected if the recipe says so. Returns the template's key in the tenant's memory, the
    template, and the register of the measurement.
    """

    def make() -> tuple[Template, str]:
        measured, register = with_measurement(pub.circuit, qubits)
        field = "twirling"
        if recipe.injects:
            field = "resilience.pec" if recipe.pec is not None else "resilience.zne"
        template = twirl(
            measured,
            gates=True,
            measures=recipe.twirl_measures,
            strategy=recipe.strategy,
            change_basis=True,
            noise_sites=recipe.injects,
            field=field,
        )
        return template, register

    key = key_of_circuit(pub, qubits, recipe, "injecting" if recipe.injects else "twirled")
    return key, *memory.get(key, make, lambda made: template_bytes(made[0]))


@dataclass(frozen=True, slots=True)
class Amplified:
    """A pub's circuit with each of some foldings (None: as it is), drawn at every point in its basis.

    Both ways give the register of the measurement, and for each folding a circuit, its key in the tenant's
    memory and what was drawn.
    """

    pub: Pub
    recipe: Recipe
    qubits: list[int]
    points: NDArray[np.float64]
    bases: NDArray[np.uint8]
    rng: np.random.Generator
    memory: Memory

    def twirled(
        self, foldings: Sequence[Folding | None], randomizations: int
    ) -> tuple[str, list[tuple[QuantumCircuit, Hashable | None, Drawn]]]:
        """With twirled gates: one template for all foldings, whose gates are folded afterwards."""
        recipe = self.recipe
        for folding in foldings:
            if folding is not None:
                folding.check(self.pub.circuit)
        base, template, register = measured_template(self.pub, self.qubits, recipe, self.memory)
        every = template.draw(self.points, randomizations * len(foldings), self.rng, bases=self.bases)
        found = []
        for number, folding in enumerate(foldings):
            own = every.part(number * randomizations * len(self.points), randomizations * len(self.points))
            if folding is None:
                found.append((template.circuit, base, own))
                continue
            key = self._folded_key(folding, "twirled")
            folded = self.memory.get(
                key, partial(fold_template, template, folding, recipe.strategy), _circuit_bytes
            )
            found.append((folded.circuit, key, folded.draw(own, self.rng)))
        return register, found

    def dressed(
        self, foldings: Sequence[Folding | None], randomizations: int
    ) -> tuple[str, list[tuple[QuantumCircuit, Hashable | None, Drawn]]]:
        """With gates as they are; the measurement's basis is drawn, and flips if it is twirled."""
        flips = self.recipe.twirl_measures
        dressing = flips or bool((self.bases > 1).any())
        register, found = "", []
        for folding in foldings:
            key = self._folded_key(folding, "dressed", dressing)
            ready = self.memory.get(key, partial(self._dressed, folding, dressing), _circuit_bytes)
            register = ready.register
            drawn = ready.draw(self.points, randomizations, self.rng, bases=self.bases, flips=flips)
            found.append((ready.circuit, key, drawn))
        return register, found

    def _folded_key(self, folding: Folding | None, *more: Hashable) -> Hashable | None:
        if folding is not None and folding.random:
            return None
        return key_of_circuit(self.pub, self.qubits, self.recipe, *more, folding)

    def _dressed(self, folding: Folding | None, dressing: bool) -> Dressed:
        circuit = self.pub.circuit if folding is None else folding.fold(self.pub.circuit)
        return dress(circuit, self.qubits, dressing=dressing)


def _circuit_bytes(made: Dressed | FoldedTemplate) -> int:
    return circuit_bytes(made.circuit)
