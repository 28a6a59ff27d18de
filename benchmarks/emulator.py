"""The emulated QPU alone, against the client's local mode and against calling Aer directly."""

from __future__ import annotations

import time
import tracemalloc
import warnings
from collections.abc import Callable

import numpy as np
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import ParameterVector
from qiskit_aer import AerSimulator
from qiskit_ibm_runtime import SamplerV2
from qiskit_ibm_runtime.fake_provider import FakeFez, FakeManilaV2, FakeSherbrooke

from benchmarks.harness import Row, median, show
from ketline.config import QpuSettings
from ketline.qpus.emulator import Emulator
from ketline.qpus.engine import Engine
from ketline.qpus.items import Workbench
from ketline.units.device import Device
from ketline.units.serial import outcome_bytes, unit_bytes, unit_from_bytes
from ketline.units.work import Outcome, WorkItem, WorkUnit

SHOTS = 1024
LOCAL = {"fez": (FakeFez, 300.0), "sherbrooke": (FakeSherbrooke, 80.0), "manila": (FakeManilaV2, 4.0)}


def timed(action: Callable[[], object]) -> float:
    """Seconds that an action takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def often(action: Callable[[], object], times: int) -> float:
    """Median seconds of several runs."""
    return median([timed(action) for _ in range(times)])


class Qpu:
    """An engine on a recorded device."""

    def __init__(self, name: str) -> None:
        self.settings = QpuSettings(name=f"ket_{name}", device=name)
        self.device: Device = Emulator.device(self.settings)
        self.engine = Engine(self.device, self.settings)

    def run(self, unit: WorkUnit) -> Outcome:
        """Run a unit to its end."""
        handle = self.engine.start(unit)
        while self.engine.poll(handle).state != "done":
            pass
        return self.engine.outcome(handle)

    def file_to_file(self, data: bytes) -> bytes:
        """Run a unit from its bytes to its outcome's bytes."""
        return outcome_bytes(self.run(unit_from_bytes(data)))


def bell(device: Device) -> QuantumCircuit:
    """A Bell circuit in the device's instruction set."""
    circuit = QuantumCircuit(2, 2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    return transpile(circuit, target=device.target, optimization_level=1, seed_transpiler=1)


def one(circuit: QuantumCircuit, shots: int = SHOTS, values: object = None) -> WorkUnit:
    """A unit of one circuit."""
    given = np.zeros((1, 0)) if values is None else np.asarray(values, dtype=np.float64)
    return WorkUnit([WorkItem(circuit, given, shots)])


def bells() -> list[Row]:
    """A noisy Bell circuit on three devices, first and warm, against the client's local mode."""
    rows = []
    for name, (client, target) in LOCAL.items():
        qpu = Qpu(name)
        data = unit_bytes(one(bell(qpu.device)))
        first = timed(lambda qpu=qpu, data=data: qpu.file_to_file(data))
        warm = often(lambda qpu=qpu, data=data: qpu.file_to_file(data), 50)
        circuit = bell(qpu.device)
        local = timed(lambda client=client, circuit=circuit: local_mode(client, circuit))
        width = qpu.device.num_qubits
        rows += [
            Row(f"Bell, {width} qubits, first", f"{first * 1e3:.1f} ms", "", None),
            Row(f"Bell, {width} qubits, file to file", f"{warm * 1e3:.1f} ms", "≤ 5 ms", warm <= 0.005),
            Row(
                f"… against local mode ({local:.2f} s)", f"{local / warm:.0f} times faster",
                f"≥ {target:.0f}", local / warm >= target,
            ),
        ]  # fmt: skip
    return rows


def local_mode(client: type, circuit: QuantumCircuit) -> None:
    """What a user would run instead."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        SamplerV2(mode=client()).run([circuit], shots=SHOTS).result()


def layered(device: Device, width: int, layers: int) -> QuantumCircuit:
    """Layers of gates on pairs with a rotation of its own on every qubit in between, all qubits read."""
    angles = ParameterVector("t", width * layers)
    circuit = QuantumCircuit(device.num_qubits, width)
    for layer in range(layers):
        for qubit in range(width):
            circuit.sx(qubit)
            circuit.rz(angles[layer * width + qubit], qubit)
            circuit.sx(qubit)
        for qubit in range(layer % 2, width - 1, 2):
            circuit.cz(qubit, qubit + 1)
    circuit.measure(range(width), range(width))
    return circuit


def sweep() -> list[Row]:
    """Sweeps and randomisations of noisy qubits, against one direct call of Aer with all points in it."""
    qpu = Qpu("fez")
    rows = []
    for points, width, shots, label in (
        (1000, 5, SHOTS, "1,000 points, 5 qubits, noise"),
        (32, 5, SHOTS, "32 randomisations, 5 qubits, noise"),
        (32, 10, 128, "32 randomisations, 10 qubits, noise"),
    ):
        circuit = layered(qpu.device, width, 3)
        values = np.random.default_rng(1).uniform(0, 6, (points, circuit.num_parameters))
        unit = one(circuit, shots, values)
        bench = Workbench(qpu.device)
        (ready,) = bench.ready(unit, qpu.settings.memory_bytes, np.random.default_rng(1))
        (part,) = ready.parts
        binds = [{parameter: column.tolist() for parameter, column in part.values.items()}]
        noise = part.source.model(False)

        def direct(
            binds: object = binds, noise: object = noise, part: object = part, shots: int = shots
        ) -> None:
            AerSimulator(noise_model=noise).run(
                part.reduced.circuit, parameter_binds=binds, shots=shots
            ).result()

        theirs = min(timed(direct) for _ in range(3))
        qpu.run(unit)
        ours = min(timed(lambda unit=unit: qpu.run(unit)) for _ in range(3))
        rows.append(
            Row(
                f"{label}, against Aer ({theirs:.2f} s)", f"{ours / theirs:.2f} times its time", "≤ 1.3",
                ours / theirs <= 1.3,
            )
        )  # fmt: skip
    return rows


def brickwork(device: Device, width: int, layers: int) -> QuantumCircuit:
    """Clifford layers on the first qubits of a device."""
    circuit = QuantumCircuit(device.num_qubits, width)
    two = "cz" if "cz" in device.target.operation_names else "cx"
    for _ in range(layers):
        circuit.sx(range(width))
        for a, b in device.configuration["coupling_map"]:
            if a < b < width and (a, b) in device.target[two]:
                getattr(circuit, two)(a, b)
    circuit.measure(range(width), range(width))
    return circuit


def templates() -> list[Row]:
    """What the client's Estimator posts: every qubit turned and read, five of them entangled."""
    qpu = Qpu("fez")
    width = qpu.device.num_qubits
    angles = ParameterVector("t", 3 * width)
    circuit = QuantumCircuit(width, width)
    for qubit in range(width):
        circuit.rz(angles[3 * qubit], qubit)
        circuit.sx(qubit)
        circuit.rz(angles[3 * qubit + 1], qubit)
        circuit.sx(qubit)
        circuit.rz(angles[3 * qubit + 2], qubit)
    for qubit in range(4):
        circuit.cz(qubit, qubit + 1)
    circuit.measure(range(width), range(width))
    rows = []
    for sets, shots in ((6, 400), (42, 100)):
        unit = one(circuit, shots, np.random.default_rng(1).uniform(0, 6, (sets, len(angles))))
        first = timed(lambda unit=unit: qpu.run(unit))
        warm = min(timed(lambda unit=unit: qpu.run(unit)) for _ in range(3))
        rows.append(
            Row(
                f"{width} qubits turned and read, 5 entangled, {sets} sets of {shots} shots",
                f"first {first * 1e3:.0f} ms, warm {warm * 1e3:.0f} ms", "≤ 1 s", warm <= 1.0,
            )
        )  # fmt: skip
    return rows


def chains() -> list[Row]:
    """A routed noisy GHZ state over a hundred qubits: exact, and with an approximation; estimates hold."""
    qpu = Qpu("fez")
    width = 100
    circuit = QuantumCircuit(width, width)
    circuit.h(0)
    for qubit in range(width - 1):
        circuit.cx(qubit, qubit + 1)
    circuit.measure(range(width), range(width))
    routed = transpile(circuit, target=qpu.device.target, optimization_level=1, seed_transpiler=1)
    rows = []
    for shots in (200, 4096):
        unit = one(routed, shots)
        admission = Emulator.admit(unit, qpu.device, qpu.settings)
        began = time.perf_counter()
        outcome = qpu.run(unit)
        taken = time.perf_counter() - began
        kind = "twirled" if outcome.approximations else "exact"
        rows.append(
            Row(
                f"GHZ state of {width} qubits, noise, {shots} shots ({kind}, {admission.methods[0]})",
                f"{taken:.2f} s, estimated {admission.qpu_seconds:.2f} s", "seconds", taken <= 10,
            )
        )  # fmt: skip
    return rows


def growth() -> list[Row]:
    """Time and memory by width: three noisy Clifford layers, every qubit read."""
    rows = []
    for name, width in (("manila", 5), ("fez", 10), ("fez", 50), ("fez", 100), ("fez", 156)):
        qpu = Qpu(name)
        unit = one(brickwork(qpu.device, width, 3))
        first = timed(lambda qpu=qpu, unit=unit: qpu.run(unit))
        warm = min(timed(lambda qpu=qpu, unit=unit: qpu.run(unit)) for _ in range(3))
        tracemalloc.start()
        outcome = qpu.run(unit)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        kind = "twirled" if outcome.approximations else "exact"
        limit = "seconds" if width == 100 else ""
        rows.append(
            Row(
                f"{width} of {qpu.device.num_qubits} qubits, 3 Clifford layers, {SHOTS} shots ({kind})",
                f"first {first * 1e3:.0f} ms, warm {warm * 1e3:.1f} ms, {peak / 1e6:.1f} MB in Python",
                limit, first < 10 if limit else None,
            )
        )  # fmt: skip
    return rows


def main() -> list[Row]:
    """Measure the emulated QPU."""
    return [*bells(), *sweep(), *templates(), *chains(), *growth()]


if __name__ == "__main__":
    show("The emulated QPU alone", main())
