"""A noisy Bell circuit through the unmodified client, against the client's own local testing mode."""

from __future__ import annotations

import time
import warnings
from typing import Any

from benchmarks.harness import Row, median, serve, show

CONFIG = "\n".join(
    f'[[qpus]]\nname = "ket_{device}"\ndevice = "{device}"\n' for device in ("fez", "sherbrooke", "manila")
)
DEVICES = (
    ("fez", "FakeFez", 156, 300.0, 1),
    ("sherbrooke", "FakeSherbrooke", 127, 80.0, 2),
    ("manila", "FakeManilaV2", 5, 4.0, 9),
)


def bell(backend: Any) -> Any:
    """A Bell circuit in the instruction set of a backend."""
    from qiskit import QuantumCircuit, generate_preset_pass_manager

    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return generate_preset_pass_manager(1, backend=backend, seed_transpiler=7).run(circuit)


def seconds(sampler: Any, circuit: Any, times: int) -> float:
    """Median time from ``run()`` to ``result()``."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        sampler.run([circuit], shots=1024).result()
        taken.append(time.perf_counter() - began)
    return median(taken)


def main() -> list[Row]:
    """Compare all three devices in one run."""
    warnings.simplefilter("ignore")
    from qiskit_ibm_runtime import SamplerV2, fake_provider

    rows = []
    with serve(CONFIG) as server:
        service = server.service()
        for device, local_name, qubits, target, local_times in DEVICES:
            backend = service.backend(f"ket_{device}")
            circuit = bell(backend)
            sampler = SamplerV2(backend)
            seconds(sampler, circuit, 5)
            served = seconds(sampler, circuit, 30)
            local = SamplerV2(getattr(fake_provider, local_name)())
            local_seconds = seconds(local, circuit, local_times)
            ratio = local_seconds / served
            rows.append(
                Row(
                    f"{qubits} qubits: run() to result()",
                    f"{served * 1e3:.1f} ms; local mode {local_seconds:.2f} s: {ratio:.0f} times faster",
                    f">= {target:.0f} times",
                    ratio >= target,
                )
            )
    return rows


if __name__ == "__main__":
    show("Bell circuit, 1,024 shots, noisy", main())
