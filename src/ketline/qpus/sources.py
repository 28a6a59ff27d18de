"""Where circuits on the same qubits get their noise from: the device, or a model that a user gave."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ketline.qpus.frames import twirled
from ketline.qpus.noise import DeviceNoise, GivenErrors, Kind, channel
from ketline.qpus.transfer import of_superop

if TYPE_CHECKING:
    from qiskit.circuit import Parameter
    from qiskit_aer.noise import NoiseModel


class NoiseSource(Protocol):
    """Noise of circuits on the same qubits, in the forms that the methods take."""

    @property
    def kind(self) -> Kind:
        """What the noise is made of."""
        ...

    def model(self, channels: bool) -> NoiseModel | None:
        """For Aer: errors as one channel each or as terms (`DeviceNoise.model`)."""
        ...

    def paulis(self, name: str, where: tuple[int, ...]) -> NDArray[np.float64] | None:
        """For Pauli frames: probabilities of Paulis after an instruction (`frames.twirled`)."""
        ...

    def transfer(self, name: str, where: tuple[int, ...]) -> NDArray[np.float64] | None:
        """For few qubits: a matrix on Pauli expectations after an instruction (`transfer`)."""
        ...

    def misread(self, qubit: int) -> NDArray[np.float64] | None:
        """For methods that read by themselves: readout probabilities ``[true, read]``."""
        ...

    def turning(self, slow: Mapping[Parameter, tuple[int, int]]) -> dict[Parameter, float]:
        """For Pauli frames: how probably a slow turn of a waiting qubit acts as a Z."""
        ...


class GivenNoise:
    """Noise that a user gave, on the circuit's own qubits; or none."""

    def __init__(self, given: NoiseModel | None, kind: Kind) -> None:
        self._given = given
        self.kind: Kind = kind
        self._errors: GivenErrors | None = None
        self._transfers: dict[int, NDArray[np.float64]] = {}

    def model(self, channels: bool) -> NoiseModel | None:
        """The noise as it was given."""
        return self._given

    def _read(self) -> GivenErrors | None:
        if self._errors is None and self._given is not None:
            self._errors = GivenErrors(self._given)
        return self._errors

    def paulis(self, name: str, where: tuple[int, ...]) -> NDArray[np.float64] | None:
        """Probabilities of Paulis after an instruction."""
        errors = self._read()
        error = None if errors is None else errors.error(name, where)
        return None if error is None else twirled(error)

    def transfer(self, name: str, where: tuple[int, ...]) -> NDArray[np.float64] | None:
        """A matrix on Pauli expectations after an instruction."""
        errors = self._read()
        error = None if errors is None else errors.error(name, where)
        if error is None:
            return None
        # One error stands for many places; the model holds it for as long as this object lives.
        if id(error) not in self._transfers:
            self._transfers[id(error)] = of_superop(np.asarray(channel(error).data), error.num_qubits)
        return self._transfers[id(error)]

    def misread(self, qubit: int) -> NDArray[np.float64] | None:
        """Readout probabilities."""
        errors = self._read()
        return None if errors is None else errors.readout(qubit)

    def turning(self, slow: Mapping[Parameter, tuple[int, int]]) -> dict[Parameter, float]:
        """Nothing turns under noise that was given."""
        return {}


class RecordedNoise:
    """Noise of the device for everything that circuits on the same qubits use.

    Args:
        device: the noise of the device.
        qubits: the physical qubit of each of the circuits' qubits.
        uses: what the circuits use (`reduce.Reduced.uses`).
    """

    def __init__(
        self, device: DeviceNoise, qubits: tuple[int, ...], uses: set[tuple[str, tuple[int, ...]]]
    ) -> None:
        self._device, self._qubits, self._uses = device, qubits, uses

    @cached_property
    def kind(self) -> Kind:
        """What the noise is made of."""
        return self._device.kind(self._uses)

    def model(self, channels: bool) -> NoiseModel:
        """The noise, errors as one channel each or as terms."""
        return self._device.model(self._uses, self._qubits, channels)

    def paulis(self, name: str, where: tuple[int, ...]) -> NDArray[np.float64] | None:
        """Probabilities of Paulis after an instruction."""
        physical = tuple(self._qubits[q] for q in where)
        return self._device.paulis(name, physical)

    def transfer(self, name: str, where: tuple[int, ...]) -> NDArray[np.float64] | None:
        """A matrix on Pauli expectations after an instruction."""
        return self._device.transfer(name, tuple(self._qubits[q] for q in where))

    def misread(self, qubit: int) -> NDArray[np.float64] | None:
        """Readout probabilities."""
        physical = self._qubits[qubit]
        if ("measure", (physical,)) not in self._uses:
            return None
        error = self._device.readout(physical)
        return None if error is None else np.asarray(error.probabilities)

    def turning(self, slow: Mapping[Parameter, tuple[int, int]]) -> dict[Parameter, float]:
        """How probably a slow turn acts as a Z, over all detunings."""
        spread = {
            parameter: self._device.detuning(qubit) * self._device.seconds(length)
            for parameter, (qubit, length) in slow.items()
        }
        return {parameter: 0.5 - 0.5 * math.exp(-0.5 * angle**2) for parameter, angle in spread.items()}
