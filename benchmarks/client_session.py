"""A session of Estimator iterations, against calling Aer directly with the circuits that were really run."""

from __future__ import annotations

import json
import time
import warnings
from typing import Any

from benchmarks.harness import Row, median, serve, show

ITERATIONS = 50
QUBITS = 5
CONFIG = '[[qpus]]\nname = "ket_manila"\ndevice = "manila"\n'


def problem(backend: Any) -> tuple[Any, Any]:
    """A variational circuit on five qubits and an observable of it, in the device's instruction set."""
    from qiskit import generate_preset_pass_manager
    from qiskit.circuit.library import efficient_su2
    from qiskit.quantum_info import SparsePauliOp

    ansatz = efficient_su2(QUBITS, reps=1, entanglement="linear")
    circuit = generate_preset_pass_manager(1, backend=backend, seed_transpiler=7).run(ansatz)
    terms = [("ZZ", [i, i + 1], 1.0) for i in range(QUBITS - 1)] + [("X", [i], 0.5) for i in range(QUBITS)]
    observable = SparsePauliOp.from_sparse_list(terms, QUBITS)
    return circuit, observable.apply_layout(circuit.layout)


def angles(number: int) -> list[Any]:
    """The parameters of every iteration."""
    import numpy as np

    return list(np.random.default_rng(5).uniform(0, np.pi, (ITERATIONS, number)))


def served(backend: Any, circuit: Any, observable: Any, level: int) -> list[float]:
    """Time of every iteration through the unmodified client."""
    from qiskit_ibm_runtime import EstimatorV2, Session

    taken = []
    with Session(backend) as session:
        estimator = EstimatorV2(session, options={"resilience_level": level})
        for values in angles(circuit.num_parameters):
            began = time.perf_counter()
            estimator.run([(circuit, observable, values)]).result()
            taken.append(time.perf_counter() - began)
    return taken


def direct(circuit: Any, observable: Any, level: int) -> list[float]:
    """Time of running the same circuits on Aer, reduced in the same way, the noise built beforehand."""
    import numpy as np
    from qiskit_aer import AerSimulator
    from qiskit_ibm_runtime import RuntimeEncoder

    from ketline.programs.base import ProgramContext, open_params, program
    from ketline.qpus.items import Workbench
    from ketline.qpus.snapshots import snapshot

    device = snapshot("manila", "ket_manila")
    context = ProgramContext(device=device)
    estimator = program("estimator")
    bench = Workbench(device)
    taken = []
    for values in angles(circuit.num_parameters):
        params = {
            "pubs": [[circuit, [dict(observable.to_list())], values, None]],
            "resilience_level": level,
            "options": {},
            "version": 2,
            "support_qiskit": True,
        }
        raw = json.dumps(params, cls=RuntimeEncoder).encode()
        unit = estimator.prepare(open_params(raw, context.limits), context).unit
        seconds = 0.0
        for item in bench.ready(unit, 8_000_000_000, np.random.default_rng(1)):
            for part in item.parts:
                binds = {name: column.tolist() for name, column in part.values.items()}
                simulator = AerSimulator(noise_model=part.source.model(channels=False))
                began = time.perf_counter()
                simulator.run(
                    [part.reduced.circuit],
                    parameter_binds=[binds] if binds else None,
                    shots=part.row_shots if binds else part.rows * part.row_shots,
                ).result()
                seconds += time.perf_counter() - began
        taken.append(seconds)
    return taken


def main() -> list[Row]:
    """Compare both resilience levels in one run."""
    warnings.simplefilter("ignore")
    rows = []
    with serve(CONFIG) as server:
        backend = server.service().backend("ket_manila")
        circuit, observable = problem(backend)
        for level in (0, 1):
            served(backend, circuit, observable, level)
            through = median(served(backend, circuit, observable, level))
            alone = median(direct(circuit, observable, level))
            most = 2 * alone + 0.015
            rows.append(
                Row(
                    f"an Estimator iteration in a session, resilience level {level}",
                    f"{through * 1e3:.1f} ms; Aer alone {alone * 1e3:.1f} ms",
                    f"<= 2 x Aer + 15 ms = {most * 1e3:.1f} ms",
                    through <= most,
                )
            )
    return rows


if __name__ == "__main__":
    show("A session of Estimator iterations", main())
