"""The noise of a device, built only for what a circuit uses, and kept.

The errors are those of `qiskit_aer.noise.NoiseModel.from_backend` for the whole device: depolarising and
relaxation errors after gates, relaxation during delays, readout errors. Aer's own functions make them, one
instruction on one set of qubits at a time.
"""

from __future__ import annotations

import itertools
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Gate
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import Kraus, SuperOp
from qiskit.transpiler import Target
from qiskit_aer.noise import NoiseModel, QuantumError, ReadoutError, thermal_relaxation_error
from qiskit_aer.noise.device import basic_device_gate_errors, basic_device_readout_errors

from ketline.errors import INVALID_REQUEST
from ketline.qpus.channels import gate_paulis, gate_strength, gate_superop
from ketline.qpus.reduce import DELAY
from ketline.qpus.transfer import of_superop
from ketline.units.errors import JobError

if TYPE_CHECKING:
    from ketline.units.device import Device

Kind = Literal["none", "pauli", "clifford", "kraus"]
"""What the terms of a noise model are: nothing, Pauli gates, these and resets, or general channels."""

_ORDER: tuple[Kind, ...] = ("none", "pauli", "clifford", "kraus")
_PAULI = frozenset({"id", "x", "y", "z", "pauli"})
_CLIFFORD = _PAULI | {"reset", "h", "s", "sdg", "cx", "cz"}
_KEPT_MODELS = 64
_KEPT_ERRORS = 5_000

_K = TypeVar("_K")
_V = TypeVar("_V")

_MOST_GIVEN_QUBITS = 8
"""On which one error of a given noise model may act."""


def _kept(cache: OrderedDict[_K, _V], key: _K, most: int, make: Callable[[], _V]) -> _V:
    """What a cache holds under a key; made if it doesn't, and then the oldest goes if there are too many."""
    if key in cache:
        cache.move_to_end(key)
        return cache[key]
    made = cache[key] = make()
    if len(cache) > most:
        cache.popitem(last=False)
    return made


class DeviceNoise:
    """The errors of one device at one calibration."""

    def __init__(self, device: Device) -> None:
        self._target = device.target
        self._dt = device.dt_seconds or 1e-9
        self._errors: OrderedDict[tuple[str, tuple[int, ...]], QuantumError | None] = OrderedDict()
        self._readout: dict[int, ReadoutError | None] = {}
        self._transfers: OrderedDict[tuple[str, tuple[int, ...]], NDArray[np.float64] | None] = OrderedDict()
        self._channels: OrderedDict[tuple[str, tuple[int, ...]], QuantumError | None] = OrderedDict()
        self._models: OrderedDict[Any, NoiseModel] = OrderedDict()

    def error(self, name: str, qubits: tuple[int, ...]) -> QuantumError | None:
        """What follows an instruction on physical qubits; None when it is perfect."""
        return _kept(self._errors, (name, qubits), _KEPT_ERRORS, lambda: self._error(name, qubits))

    def _error(self, name: str, qubits: tuple[int, ...]) -> QuantumError | None:
        if name.startswith(DELAY):
            return self.relaxation(qubits[0], int(name.removeprefix(DELAY)) * self._dt)
        return self._gate_error(name, qubits)

    def _gate_error(self, name: str, qubits: tuple[int, ...]) -> QuantumError | None:
        if name not in self._target or name == "measure":
            return None
        places = self._target[name]
        entry = None if places is None else places.get(qubits)
        if entry is None:
            return None
        alone = Target(num_qubits=self._target.num_qubits, qubit_properties=self._target.qubit_properties)
        alone.add_instruction(self._target.operation_from_name(name), {qubits: entry}, name=name)
        with warnings.catch_warnings():
            # Aer tells of T2 above 2 T1 in the recorded data, which it truncates.
            warnings.filterwarnings("ignore", module="qiskit_aer.noise")
            found = basic_device_gate_errors(target=alone)
        return found[0][2] if found else None

    def detuning(self, qubit: int) -> float:
        """How far a physical qubit's frequency is off: standard deviation in radians a second (`idle`)."""
        return float(np.sqrt(2.0) / self._times(qubit)[1])

    def seconds(self, dt: int) -> float:
        """A length in dt in seconds."""
        return dt * self._dt

    def relaxation(self, qubit: int, seconds: float) -> QuantumError | None:
        """What a physical qubit suffers while it waits."""
        t1, t2 = self._times(qubit)
        if seconds <= 0 or t1 == t2 == float("inf"):
            return None
        return thermal_relaxation_error(t1, t2, seconds)

    def readout(self, qubit: int) -> ReadoutError | None:
        """How a physical qubit is misread; None when it is read perfectly."""
        if qubit not in self._readout:
            places = self._target.get("measure", None)
            entry = None if places is None else places.get((qubit,))
            found: list[Any] = []
            if entry is not None and entry.error is not None:
                alone = Target(num_qubits=qubit + 1)
                alone.add_instruction(self._target.operation_from_name("measure"), {(qubit,): entry})
                found = basic_device_readout_errors(target=alone)
            self._readout[qubit] = found[0][1] if found else None
        return self._readout[qubit]

    def kind(self, uses: Iterable[tuple[str, tuple[int, ...]]]) -> Kind:
        """What the noise of what a circuit uses is made of."""
        found: Kind = "none"
        for name, where in uses:
            if name == "measure":
                misread = self.readout(where[0])
                own: Kind = "none" if misread is None else "pauli"
            else:
                own = self._kind(name, where)
            found = max(found, own, key=_ORDER.index)
        return found

    def _kind(self, name: str, where: tuple[int, ...]) -> Kind:
        """The kind of `error`, from the device's figures alone."""
        if name.startswith(DELAY):
            return self._relaxing(where)
        places = self._target.get(name, None)
        entry = None if places is None else places.get(where)
        if entry is None:
            return "none"
        if entry.duration:
            return self._relaxing(where)
        return "pauli" if entry.error else "none"

    def _relaxing(self, where: tuple[int, ...]) -> Kind:
        found: Kind = "none"
        for qubit in where:
            t1, t2 = self._times(qubit)
            if t2 == float("inf"):
                continue
            found = max(found, "kraus" if t2 > t1 else "clifford", key=_ORDER.index)
        return found

    def _times(self, qubit: int) -> tuple[float, float]:
        """T1 and T2 of a physical qubit in seconds, T2 at most twice T1; infinite where nothing is known."""
        every = self._target.qubit_properties
        entry = None if every is None else every[qubit]
        if entry is None:
            return float("inf"), float("inf")
        t1 = float("inf") if entry.t1 is None else entry.t1
        return t1, min(2 * t1, float("inf") if entry.t2 is None else entry.t2)

    def model(
        self, uses: Iterable[tuple[str, tuple[int, ...]]], qubits: tuple[int, ...], channels: bool
    ) -> NoiseModel:
        """The noise of what a circuit uses, on its own qubits.

        Args:
            uses: pairs of a name and physical qubits, as `reduce.Reduced.uses`.
            qubits: the physical qubit of each of the circuit's qubits.
            channels: each error as one channel, which is quicker on density matrices; otherwise as the
                terms that are drawn from, which is quicker on single trajectories.
        """
        wanted = frozenset(uses)
        return _kept(
            self._models, (qubits, wanted, channels), _KEPT_MODELS,
            lambda: self._model(wanted, qubits, channels),
        )  # fmt: skip

    def _model(
        self, wanted: frozenset[tuple[str, tuple[int, ...]]], qubits: tuple[int, ...], channels: bool
    ) -> NoiseModel:
        local = {q: i for i, q in enumerate(qubits)}
        model = NoiseModel()
        for name, where in sorted(wanted):
            if name == "measure":
                misread = self.readout(where[0])
                if misread is not None:
                    model.add_readout_error(misread, [local[where[0]]])
                continue
            error = self._channel(name, where) if channels else self.error(name, where)
            if error is not None:
                model.add_quantum_error(error, name, [local[q] for q in where])
        return model

    def _channel(self, name: str, where: tuple[int, ...]) -> QuantumError | None:
        def make() -> QuantumError | None:
            figures = self._figures(name, where)
            return None if figures is None else QuantumError(Kraus(gate_superop(*figures)))

        return _kept(self._channels, (name, where), _KEPT_ERRORS, make)

    def transfer(self, name: str, where: tuple[int, ...]) -> NDArray[np.float64] | None:
        """What follows an instruction, as a matrix on Pauli expectations (`ketline.qpus.transfer`)."""

        def make() -> NDArray[np.float64] | None:
            figures = self._figures(name, where)
            return None if figures is None else of_superop(gate_superop(*figures).data, len(where))

        return _kept(self._transfers, (name, where), _KEPT_ERRORS, make)

    def paulis(self, name: str, where: tuple[int, ...]) -> NDArray[np.float64] | None:
        """Pauli twirl of what follows an instruction on physical qubits (`channels.gate_paulis`)."""
        figures = self._figures(name, where)
        return None if figures is None else gate_paulis(*figures)

    def _figures(
        self, name: str, where: tuple[int, ...]
    ) -> tuple[list[tuple[float, float]], float, float] | None:
        """Times of the qubits, length and strength of depolarisation; None when nothing goes wrong."""
        times = [self._times(qubit) for qubit in where]
        if name.startswith(DELAY):
            seconds, strength = int(name.removeprefix(DELAY)) * self._dt, 0.0
        else:
            places = self._target.get(name, None)
            entry = None if places is None or name == "measure" else places.get(where)
            if entry is None:
                return None
            seconds, strength = entry.duration or 0.0, 0.0
            if entry.error and isinstance(self._target.operation_from_name(name), Gate):
                strength = gate_strength(times, seconds, entry.error)
        still = seconds == 0.0 or all(t1 == t2 == float("inf") for t1, t2 in times)
        return None if still and strength == 0.0 else (times, seconds, strength)


def channel(error: QuantumError) -> SuperOp:
    """The channel that an error's terms add up to; `SuperOp(error)`, with recurring steps made once."""
    steps: dict[Any, NDArray[np.complex128]] = {}
    width = error.num_qubits
    total = np.zeros((4**width, 4**width), dtype=np.complex128)
    for circuit, probability in zip(error.circuits, error.probabilities, strict=True):
        index = {qubit: i for i, qubit in enumerate(circuit.qubits)}
        matrix: NDArray[np.complex128] | None = None
        for instruction in circuit.data:
            operation = instruction.operation
            where = tuple(index[q] for q in instruction.qubits)
            key = (operation.name, where, _fingerprint(operation.params))
            step = steps.get(key)
            if step is None:
                step = steps[key] = SuperOp(np.eye(4**width)).compose(SuperOp(operation), list(where)).data
            matrix = step if matrix is None else step @ matrix
        total += probability * (np.eye(4**width) if matrix is None else matrix)
    return SuperOp(total)


def _fingerprint(params: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(value.tobytes() if isinstance(value, np.ndarray) else value for value in params)


def _complex(params: Any) -> Any:
    """Matrices as they stand in JSON, complex numbers as pairs, as arrays."""
    values = np.asarray(params)
    if values.dtype == object or values.dtype.kind not in "iufc":
        raise ValueError("a matrix of numbers is expected")
    if values.dtype.kind == "c":
        return values
    if values.ndim < 3 or values.shape[-1] != 2:
        raise ValueError("complex numbers are expected as [real, imaginary]")
    return values[..., 0] + 1j * values[..., 1]


def _instruction(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    if any(not 0 <= int(qubit) < _MOST_GIVEN_QUBITS for qubit in entry["qubits"]):
        raise ValueError(f"an error on qubits {str(entry['qubits'])[:60]} of its own isn't possible")
    if entry["name"] in ("kraus", "unitary"):
        operators = [_complex(matrix) for matrix in entry["params"]]
        whole = sum(operator.conj().T @ operator for operator in operators)
        if not np.allclose(whole, np.eye(len(operators[0])), atol=1e-6):
            raise ValueError(f"the operators of {entry['name']} don't keep probabilities")
        return {**entry, "params": operators}
    return entry


def _once(entry: Mapping[str, Any], seen: set[tuple[str, str, str]]) -> None:
    """Several errors of one operation would be multiplied, with ever more terms; a model holds one each."""
    for name, place in itertools.product(entry["operations"], entry.get("gate_qubits") or [None]):
        key = (str(entry["type"]), str(name), str(place))
        if key in seen:
            raise ValueError(f"there are two errors of {str(name)[:40]} on the same qubits")
        seen.add(key)


def given_model(wire: Mapping[str, Any], qubits: tuple[int, ...]) -> tuple[NoiseModel, Kind]:
    """A noise model that a user gave (`NoiseModel.to_dict`, in JSON) on a circuit's own qubits.

    Raises:
        JobError: it isn't a noise model.
    """
    local = {q: i for i, q in enumerate(qubits)}
    names: set[str] = set()
    seen: set[tuple[str, str, str]] = set()
    try:
        errors = []
        for entry in wire["errors"]:
            entry = dict(entry)
            _once(entry, seen)
            places = entry.get("gate_qubits")
            if places is not None:
                entry["gate_qubits"] = [
                    [local[q] for q in place] for place in places if all(q in local for q in place)
                ]
                if not entry["gate_qubits"]:
                    continue
            if entry["type"] == "qerror":
                entry["instructions"] = [
                    [_instruction(step) for step in term] for term in entry["instructions"]
                ]
                names.update(step["name"] for term in entry["instructions"] for step in term)
            errors.append(entry)
        with warnings.catch_warnings():
            # The client sends models in the form that this function reads; Aer means to retire it.
            warnings.filterwarnings("ignore", "from_dict has been deprecated", DeprecationWarning)
            model = NoiseModel.from_dict({"errors": errors})
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, QiskitError) as error:
        raise JobError(
            INVALID_REQUEST.code,
            f"simulator.noise_model can't be read: {error}",
            "Send NoiseModel.to_dict() as simulator.noise_model.",
        ) from error
    return model, _kind_of(names)


class GivenErrors:
    """The errors of a noise model by instruction and qubits, those for all qubits where none is special."""

    def __init__(self, model: NoiseModel) -> None:
        self._errors: dict[tuple[str, tuple[int, ...] | None], QuantumError] = {}
        self._readout: dict[int | None, NDArray[np.float64]] = {}
        for entry in model.to_dict()["errors"]:
            places: list[Any] = (
                [tuple(place) for place in entry["gate_qubits"]] if "gate_qubits" in entry else [None]
            )
            for place in places:
                if entry["type"] == "roerror":
                    self._readout[None if place is None else place[0]] = np.asarray(entry["probabilities"])
                else:
                    for name in entry["operations"]:
                        self._errors[name, place] = QuantumError.from_dict(entry)

    def error(self, name: str, where: tuple[int, ...]) -> QuantumError | None:
        """What follows an instruction on the circuit's qubits."""
        return self._errors.get((name, where), self._errors.get((name, None)))

    def readout(self, qubit: int) -> NDArray[np.float64] | None:
        """Readout probabilities ``[true, read]`` of one of the circuit's qubits."""
        return self._readout.get(qubit, self._readout.get(None))


def _kind_of(names: Iterable[str]) -> Kind:
    found = set(names)
    if not found:
        return "none"
    if found <= _PAULI:
        return "pauli"
    return "clifford" if found <= _CLIFFORD else "kraus"
