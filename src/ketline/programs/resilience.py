"""What an estimator's options come to for each PUB: levels resolved, shots split (``rest.md`` E.3)."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ketline.programs.failures import bad_option, beyond_limit
from ketline.programs.mitigation.layers import LayerNoise
from ketline.programs.mitigation.recipe import Pec, Recipe, Zne
from ketline.programs.mitigation.twirling import Sizes, sizes

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

_MOST_SHOTS = 10**15
"""Far more than any result could hold; a precision that asks for more may not be a number of shots at all."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """Options with the level's defaults filled in."""

    options: Any
    twirl_gates: bool
    twirl_measures: bool
    measure_mitigation: bool
    zne: Zne | None
    pec: Pec | None

    @property
    def injects(self) -> bool:
        """Whether noise is injected, for which it must be known."""
        return self.pec is not None or (self.zne is not None and self.zne.amplifier == "pea")

    def recipe(
        self,
        explicit: float | None,
        noises: tuple[LayerNoise, ...],
        decouple: Callable[[QuantumCircuit, Hashable | None], QuantumCircuit] | None,
        max_sets: int,
    ) -> Recipe:
        """How a PUB is estimated; ``explicit`` is the precision that it or the call asks for."""
        return Recipe(
            sizes=self.sizes(explicit),
            twirl_gates=self.twirl_gates,
            twirl_measures=self.twirl_measures,
            strategy=self.options.twirling.strategy,
            zne=self.zne,
            pec=self.pec,
            noises=noises,
            decouple=decouple,
            max_sets=max_sets,
        )

    def shots(self, explicit: float | None) -> int:
        """Shots of each circuit: an explicit precision wins, then default_shots, then default_precision."""
        if explicit is None and self.options.default_shots is not None:
            return int(self.options.default_shots)
        precision = explicit or self.options.default_precision
        wanted = 1.0 / precision / precision
        if not wanted <= _MOST_SHOTS:
            raise beyond_limit(f"shots for the precision {precision:g}", wanted, _MOST_SHOTS, "Ask for less.")
        return max(1, math.ceil(wanted - 1e-9))

    def target(self, explicit: float | None) -> float:
        """The precision that is aimed at."""
        if explicit is None and self.options.default_shots is not None:
            return 1.0 / math.sqrt(self.options.default_shots)
        return float(explicit or self.options.default_precision)

    def sizes(self, explicit: float | None) -> Sizes:
        """Randomisations and shots of each; an explicit precision wins over their product."""
        shots = self.shots(explicit)
        if not (self.twirl_gates or self.twirl_measures):
            return Sizes(1, shots)
        twirling = self.options.twirling
        randomizations, each = twirling.num_randomizations, twirling.shots_per_randomization
        if explicit is not None and randomizations != "auto" and each != "auto":
            randomizations = math.ceil(shots / each)
        if self.pec is not None and randomizations == "auto" and each == "auto":
            each = 64
        return sizes(shots, randomizations, each)

    def readout_sizes(self, of_pubs: list[Sizes], max_sets: int) -> Sizes | None:
        """The calibration of readout; ``auto`` shots are those of the PUB with most.

        Raises:
            JobError: there are more than ``max_sets`` randomisations.
        """
        if not self.measure_mitigation:
            return None
        learning = self.options.resilience.measure_noise_learning
        each = learning.shots_per_randomization
        if each == "auto":
            each = max(size.shots for size in of_pubs)
        if learning.num_randomizations > max_sets:
            raise beyond_limit(
                "options.resilience.measure_noise_learning.num_randomizations",
                learning.num_randomizations,
                max_sets,
                "Use fewer randomizations.",
            )
        return Sizes(learning.num_randomizations, each)

    def metadata(self) -> dict[str, Any]:
        """What the result tells of the options."""
        decoupling, twirling = self.options.dynamical_decoupling, self.options.twirling
        resilience: dict[str, Any] = {
            "measure_mitigation": self.measure_mitigation,
            "zne_mitigation": self.zne is not None,
            "pec_mitigation": self.pec is not None,
        }
        if self.zne is not None:
            resilience["zne"] = {
                "noise_factors": list(self.zne.noise_factors),
                "extrapolator": list(self.zne.extrapolators),
                "extrapolated_noise_factors": list(
                    self.zne.extrapolated_noise_factors or (0.0, *self.zne.noise_factors)
                ),
            }
        return {
            "dynamical_decoupling": {
                "enable": decoupling.enable,
                "sequence_type": decoupling.sequence_type,
                "extra_slack_distribution": decoupling.extra_slack_distribution,
                "scheduling_method": decoupling.scheduling_method,
            },
            "twirling": {
                "enable_gates": self.twirl_gates,
                "enable_measure": self.twirl_measures,
                "num_randomizations": twirling.num_randomizations,
                "shots_per_randomization": twirling.shots_per_randomization,
                "interleave_randomizations": True,
                "strategy": twirling.strategy,
            },
            "resilience": resilience,
            "version": 2,
        }


def resolve(options: Any, level: int) -> Resolved:
    """Fill in the defaults of a resilience level.

    Level 1 corrects readout errors (TREX) with twirled measurements, level 2 extrapolates to zero noise with
    twirled gates as well. What is set explicitly wins, except that techniques switch on the twirling that
    they need; PEC takes the place of level 2's extrapolation.

    Raises:
        JobError: PEC and ZNE are both asked for.
    """
    resilience, twirling = options.resilience, options.twirling
    pec_on = bool(resilience.pec_mitigation)
    if pec_on and resilience.zne_mitigation:
        raise bad_option("resilience", "pec_mitigation and zne_mitigation can't be combined.", "Choose one.")
    zne_on = resilience.zne_mitigation
    if zne_on is None:
        zne_on = level == 2 and not pec_on
    readout = resilience.measure_mitigation
    if readout is None:
        readout = level >= 1
    gates = level == 2 if twirling.enable_gates is None else twirling.enable_gates
    measures = level >= 1 if twirling.enable_measure is None else twirling.enable_measure
    zne = None
    if zne_on:
        chosen = resilience.zne
        names = (chosen.extrapolator,) if isinstance(chosen.extrapolator, str) else tuple(chosen.extrapolator)
        points = chosen.extrapolated_noise_factors
        zne = Zne(
            tuple(float(factor) for factor in chosen.noise_factors),
            chosen.amplifier,
            names,
            None if points == "auto" else tuple(float(point) for point in points),
        )
    injects = pec_on or (zne is not None and zne.amplifier == "pea")
    return Resolved(
        options,
        twirl_gates=gates or injects,
        twirl_measures=measures or readout or injects,
        measure_mitigation=readout,
        zne=zne,
        pec=Pec(resilience.pec.max_overhead, resilience.pec.noise_gain) if pec_on else None,
    )
