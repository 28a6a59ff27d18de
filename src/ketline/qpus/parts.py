"""Components of an item that are simulated together, and the method that each gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ketline.qpus.frames import Frames, frames
from ketline.qpus.methods import PATIENCE_SECONDS, Method, Suited, choose, frame_method
from ketline.qpus.reduce import Reduced
from ketline.qpus.sources import NoiseSource
from ketline.qpus.trajectories import Trajectories
from ketline.qpus.transfer import Bundle
from ketline.units.errors import JobError

if TYPE_CHECKING:
    from qiskit.circuit import Parameter
    from qiskit_aer.noise import NoiseModel

TWIRLED = (
    "noise that isn't made of Paulis was replaced by its Pauli twirl, so that the stabiliser method takes it"
    "{slow} ({reason}; the option experimental.execution.allow_approximation = false forbids it)"
)
_TURNED = ", and slow turns of waiting qubits by random Zs, which no echo undoes"
_FORBIDDEN = "Or allow approximations: with its noise twirled to Paulis, the stabiliser method takes it."


@dataclass(frozen=True, slots=True)
class Limits:
    """What simulating may take, and whether it has to be exact."""

    memory_bytes: int
    allow_approximation: bool


@dataclass(slots=True)
class Part:
    """Components of an item that are simulated together: one with a method of its own, or a bundle.

    Each parameter set is simulated as ``repeats`` rows of ``row_shots`` shots, which differ in the detuning
    of waiting qubits (one row unless idle noise is simulated). A shot that is simulated is ``links``
    consecutive shots of the item (1 unless qubits aren't initialised). ``values`` maps the parameters that
    the circuit carries to a value a row; without any, all sets are alike.
    """

    sets: int
    shots: int
    reduced: Reduced
    repeats: int
    links: int
    values: dict[Parameter, NDArray[np.float64]]
    source: NoiseSource
    method: Method
    bundle: Bundle | None = None
    approximation: str = ""

    @property
    def rows(self) -> int:
        """Rows that are simulated."""
        return self.sets * self.repeats

    @property
    def row_shots(self) -> int:
        """Simulated shots of a row; what a set doesn't need of them is dropped."""
        return -(-self.shots // (self.repeats * self.links))

    @property
    def seconds(self) -> float:
        """Estimate of what simulating it takes."""
        if not self.values:
            return self.method.seconds_in_pieces(1, self.rows * self.row_shots)
        return self.method.seconds_in_pieces(self.rows, self.row_shots)

    def frames(self) -> Frames:
        """The circuit with its noise in the language of Pauli frames."""
        return frames(self.reduced.circuit, self.source, self.source.turning(self.reduced.slow))

    def sampler(self) -> Bundle | Trajectories:
        """What draws all bits of a row from its states: the bundle, or shared trajectories."""
        return self.bundle or Trajectories(self.reduced.circuit, self.values, self.source)

    def model(self) -> NoiseModel | None:
        """The noise in the form that suits the method."""
        return self.source.model(self.method.name == "density_matrix")


def chosen(
    where: str, reduced: Reduced, source: NoiseSource, fits: Suited, size: tuple[int, int],
    limits: Limits,
) -> tuple[Method, str]:  # fmt: skip
    """The exact method, or an approximate one where that is allowed and the exact one is out of reach."""
    rows, shots = size
    try:
        exact = choose(where, reduced, source.kind, fits, size, limits.memory_bytes)
    except JobError as error:
        if not fits.frames:
            raise
        if not limits.allow_approximation:
            raise JobError(error.code, error.message, f"{error.solution} {_FORBIDDEN}") from error
        return frame_method(reduced), _twirled(reduced, "no exact method takes the circuit")
    quick = frame_method(reduced)
    seconds = exact.seconds_in_pieces(rows, shots)
    slow = seconds > max(PATIENCE_SECONDS, quick.seconds(rows, shots))
    if fits.frames and limits.allow_approximation and slow and exact.name != "pauli_frames":
        reason = f"exactly, by {exact.name}, it would take about {seconds:.2g} s"
        return quick, _twirled(reduced, reason)
    return exact, ""


def _twirled(reduced: Reduced, reason: str) -> str:
    return TWIRLED.format(slow=_TURNED if reduced.slow else "", reason=reason)
