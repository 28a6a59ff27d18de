"""How time and memory grow: with the jobs, the circuits in a job, and the qubits of a circuit."""

from __future__ import annotations

import asyncio
import json
import time
import warnings
from typing import Any

from benchmarks.harness import Connection, Row, Server, peak_mb, proportional_mb, sampler_body, serve, show

CONFIG = "\n".join(f'[[qpus]]\nname = "ket_{device}"\ndevice = "{device}"\n' for device in ("fez", "manila"))


async def run_jobs(server: Server, body: bytes, number: int) -> float:
    """Submit jobs by plain HTTP and wait for the last one's end; seconds."""
    connection = await Connection.open(server.url, server.headers())
    began = time.perf_counter()
    for _ in range(number):
        status, answer = await connection.request("POST", "/api/v1/jobs", body)
        if status != 200:
            raise RuntimeError(f"{status} {answer[:300]!r}")
    while True:
        _, answer = await connection.request("GET", "/api/v1/jobs?pending=true&limit=1&exclude_params=true")
        if not json.loads(answer)["count"]:
            break
        await asyncio.sleep(0.01)
    seconds = time.perf_counter() - began
    _, answer = await connection.request("GET", "/api/v1/jobs?limit=1&exclude_params=true")
    state = json.loads(answer)["jobs"][0]["state"]
    if state["status"] != "Completed":
        raise RuntimeError(state["reason"])
    connection.close()
    return seconds


def layer(qubits: int) -> Any:
    """A layer on the first qubits of the 156-qubit device: rotations, and a gate on every free pair."""
    from qiskit import QuantumCircuit

    from ketline.qpus.snapshots import snapshot

    circuit = QuantumCircuit(156, qubits)
    free = set(range(qubits))
    for qubit in range(qubits):
        circuit.sx(qubit)
        circuit.rz(0.3, qubit)
    for first, second in snapshot("fez", "ket_fez").configuration["coupling_map"]:
        if {first, second} <= free:
            circuit.cz(first, second)
            free -= {first, second}
    for qubit in range(qubits):
        circuit.sx(qubit)
        circuit.measure(qubit, qubit)
    return circuit


def body_of(circuit: Any, shots: int) -> bytes:
    """A Sampler job of one circuit."""
    from qiskit_ibm_runtime import RuntimeEncoder

    params = {"pubs": [[circuit, [], shots]], "options": {}, "version": 2, "support_qiskit": True}
    request = {"program_id": "sampler", "backend": "ket_fez", "params": params}
    return json.dumps(request, cls=RuntimeEncoder).encode()


def main() -> list[Row]:
    """Measure all three."""
    warnings.simplefilter("ignore")
    rows = []
    with serve(CONFIG) as server:
        asyncio.run(run_jobs(server, sampler_body(), 5))
        for number in (10, 100, 1000):
            seconds = asyncio.run(run_jobs(server, sampler_body(), number))
            rows.append(_row(server, f"{number} jobs of one circuit", seconds, number))
        for number in (1, 10, 100):
            seconds = asyncio.run(run_jobs(server, sampler_body(circuits=number), 1))
            rows.append(_row(server, f"a job of {number} circuits", seconds, number))
        for qubits in (5, 50, 156):
            seconds = asyncio.run(run_jobs(server, body_of(layer(qubits), 100), 1))
            rows.append(_row(server, f"a noisy layer of gates on {qubits} qubits, 100 shots", seconds, 1))
    return rows


def _row(server: Server, name: str, seconds: float, number: int) -> Row:
    pids = server.pids
    memory = f"{proportional_mb(pids):.0f} MB in all, {peak_mb(pids):.0f} MB at most in one process"
    each = f" ({seconds / number * 1e3:.1f} ms each)" if number > 1 else ""
    return Row(name, f"{seconds:.2f} s{each}; {memory}", "")


if __name__ == "__main__":
    show("How time and memory grow", main())
