"""Programs: how long preparing takes, how it grows, and what memory it needs; as a compute worker does it.

Each figure of a worker is taken in a child forked from a warm parent, from the payload's file to the unit's,
the driver's admission included. *Fresh* circuits are ones that the worker never saw; *again* means that the
same instance posted the same circuits before. Times are processor time. A payload's size is that of its JSON
as posted.
"""

from __future__ import annotations

import base64
import gc
import importlib
import io
import json
import os
import pickle
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from qiskit import QuantumCircuit, generate_preset_pass_manager, qpy
from qiskit.circuit import ParameterVector
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import SparsePauliOp
from qiskit_ibm_runtime import RuntimeEncoder

from benchmarks.harness import Row, median, peak_mb, proportional_mb, serve, show
from ketline.config import QpuSettings
from ketline.qpus.snapshots import snapshot
from ketline.service import tasks

ValueT = TypeVar("ValueT")

TARGET_MS = 20.0
MEGABYTES = 50
DEVICE = snapshot("fez", "ket_fez")
SETTINGS = QpuSettings(name="ket_fez", device="fez").model_dump(mode="json")
TWIRL = {"twirling": {"enable_gates": True, "enable_measure": True}}
DECOUPLE = {"dynamical_decoupling": {"enable": True, "sequence_type": "XY4"}}


def in_a_worker(action: Callable[[], ValueT]) -> ValueT:
    """What an action gives in a fresh child of this process."""
    ours, theirs = os.pipe()
    gc.collect()
    gc.freeze()
    child = os.fork()
    if child == 0:
        with os.fdopen(theirs, "wb") as pipe:
            pickle.dump(action(), pipe)
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        content = pipe.read()
    os.waitpid(child, 0)
    found: ValueT = pickle.loads(content)  # from our own child
    return found


def status_mb(key: str) -> float:
    """A line of this process's status, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) / 1024
    raise LookupError(key)


class Bench:
    """A folder with a device and payloads in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        DEVICE.write(folder / "device.json")

    def prepare(self, program: str, payload: bytes, tenant: str | None = None) -> float:
        """Prepare a job as a worker does; seconds of processor time."""
        (self.folder / "payload").write_bytes(payload)
        args = {
            "program": program,
            "folder": str(self.folder / "job"),
            "device": str(self.folder / "device.json"),
            "settings": SETTINGS,
            "simulator": False,
            "mock": False,
            "in_session": tenant is not None,
            "cache_folder": None,
            "max_decompressed_bytes": 2_000_000_000,
            "log_level": "WARNING",
            "tenant": tenant,
            "payload": str(self.folder / "payload"),
        }
        began = time.process_time()
        tasks.prepare(args)
        return time.process_time() - began

    def times(self, program: str, payloads: list[bytes]) -> tuple[float, float]:
        """Median seconds with fresh circuits, and with circuits prepared for the tenant before."""

        def action() -> tuple[float, float]:
            tasks.warm({"devices": [str(self.folder / "device.json")]})
            self.prepare(program, payloads[0])
            fresh = [self.prepare(program, payload, "a") for payload in payloads[1:]]
            again = [self.prepare(program, payload, "a") for payload in payloads[1:]]
            return median(fresh), median(again)

        return in_a_worker(action)

    def peak(self, program: str, payload: bytes) -> float:
        """By how many MB a worker grows at its peak while it prepares a payload."""

        def action() -> float:
            tasks.warm({"devices": [str(self.folder / "device.json")]})
            gc.collect()
            Path("/proc/self/clear_refs").write_text("5")
            before = status_mb("VmRSS")
            self.prepare(program, payload, "a")
            return status_mb("VmHWM") - before

        return in_a_worker(action)


def compiled(circuit: QuantumCircuit) -> QuantumCircuit:
    """A circuit in the device's instruction set."""
    return generate_preset_pass_manager(1, target=DEVICE.target, seed_transpiler=7).run(circuit)


def bell(turn: float, *, measured: bool) -> QuantumCircuit:
    """A Bell circuit after a turn that tells it from others."""
    circuit = QuantumCircuit(2, 2 if measured else 0)
    circuit.ry(turn, 0)
    circuit.h(0)
    circuit.cx(0, 1)
    if measured:
        circuit.measure([0, 1], [0, 1])
    return compiled(circuit)


def params(pubs: list[Any], options: dict[str, Any], level: int | None = None) -> bytes:
    """Params of the legacy primitives, as the client encodes them."""
    tree: dict[str, Any] = {"pubs": pubs, "options": options, "version": 2, "support_qiskit": True}
    if level is not None:
        tree["resilience_level"] = level
    return json.dumps(tree, cls=RuntimeEncoder).encode()


def chain(circuit: QuantumCircuit, width: int) -> dict[str, float]:
    """An observable along a chain of qubits, in the circuit's layout."""
    terms = [("ZZ", [i, i + 1], 1.0) for i in range(width - 1)] + [("X", [i], 0.5) for i in range(width)]
    word = SparsePauliOp.from_sparse_list(terms, width).apply_layout(circuit.layout)
    return {str(label): float(value.real) for label, value in word.to_list()}


def sampler_job(turn: float, options: dict[str, Any]) -> bytes:
    """One Bell circuit."""
    return params([[bell(turn, measured=True), np.zeros(0), 1024]], options)


def estimator_job(turn: float, level: int) -> bytes:
    """One Bell circuit and an observable of two bases."""
    circuit = bell(turn, measured=False)
    return params([[circuit, chain(circuit, 2), np.zeros(0), None]], {}, level)


def ansatz_job(level: int, number: int) -> bytes:
    """An ansatz of five qubits at one point."""
    ansatz = efficient_su2(5, reps=1, entanglement="linear", name=f"ansatz{number}")
    circuit = compiled(ansatz)
    values = np.random.default_rng(number).uniform(0, 3, circuit.num_parameters)
    return params([[circuit, chain(circuit, 5), values, None]], {}, level)


def executor_job(turn: float, values: np.ndarray[Any, Any] | None = None) -> bytes:
    """A circuit item by hand: a Bell circuit, or a circuit of many angles with values for them."""
    circuit = bell(turn, measured=True) if values is None else angled()
    values = np.zeros(0) if values is None else values
    stream = io.BytesIO()
    qpy.dump([circuit], stream)
    raw = stream.getvalue()
    item = {
        "item_type": "circuit",
        "circuit_arguments": {
            "data": base64.b64encode(zlib.compress(values.tobytes())).decode(),
            "shape": list(values.shape),
            "dtype": "f64",
        },
        "shape": [],
        "chunk_size": "auto",
    }
    packed = base64.b64encode(zlib.compress(raw)).decode()
    program = {
        "shots": 10,
        "circuits": {"b64_data": packed, "qpy_version": raw[6], "num_programs": 1},
        "items": [item],
        "semantic_role": None,
        "meas_level": "classified",
        "passthrough_data": None,
    }
    return json.dumps({"schema_version": "v2.0", "quantum_program": program, "options": {}}).encode()


def small_jobs(bench: Bench) -> list[Row]:
    """Preparing one small job, program by program."""
    turns = np.linspace(0.1, 1.0, 12).tolist()
    jobs: dict[str, tuple[str, list[bytes]]] = {
        "sampler": ("sampler", [sampler_job(turn, {}) for turn in turns]),
        "sampler, twirled": ("sampler", [sampler_job(turn, TWIRL) for turn in turns]),
        "sampler, decoupled": ("sampler", [sampler_job(turn, DECOUPLE) for turn in turns]),
        "sampler, twirled and decoupled": (
            "sampler", [sampler_job(turn, TWIRL | DECOUPLE) for turn in turns],
        ),
        **{
            f"estimator at level {level}": ("estimator", [estimator_job(turn, level) for turn in turns])
            for level in (0, 1, 2)
        },
        "executor": ("executor", [executor_job(turn) for turn in turns]),
    }  # fmt: skip
    rows = []
    for name, (program, payloads) in jobs.items():
        fresh, again = (1e3 * seconds for seconds in bench.times(program, payloads))
        rows.append(_prepared(f"{name}: a fresh Bell circuit", fresh))
        rows.append(_prepared(f"{name}: the same again", again))
    for level in (1, 2):
        payloads = [ansatz_job(level, number) for number in range(8)]
        fresh, again = (1e3 * seconds for seconds in bench.times("estimator", payloads))
        rows.append(_prepared(f"estimator at level {level}: a fresh ansatz of 5 qubits", fresh))
        rows.append(_prepared(f"estimator at level {level}: the same ansatz again", again))
    return rows


def _prepared(name: str, milliseconds: float) -> Row:
    return Row(name, f"{milliseconds:.1f} ms", f"≤ {TARGET_MS:.0f} ms", milliseconds <= TARGET_MS)


def many_circuits(bench: Bench) -> list[Row]:
    """Preparing 1,000 different circuits in one job against one."""
    rows = []
    plans: list[tuple[str, str, Callable[[QuantumCircuit], list[Any]], int | None]] = [
        ("sampler", "sampler", lambda circuit: [circuit, np.zeros(0), 10], None),
        ("estimator at level 1", "estimator", lambda circuit: [circuit, chain(circuit, 2), None, 0.3], 1),
    ]
    for name, program, pub, level in plans:
        measured = program == "sampler"
        pubs = [pub(bell(turn, measured=measured)) for turn in np.linspace(0.1, 3.0, 1000)]
        many = params(pubs, {}, level)
        ones = [params([one], {}, level) for one in pubs[:12]]
        single, _ = bench.times(program, ones)
        together = bench.times(program, [ones[0], many])[0] / 1000
        rows.append(
            Row(
                f"{name}: each of 1,000 circuits against one alone",
                f"{together * 1e3:.2f} ms, {single * 1e3:.2f} ms", "≤ 1 times", together <= single,
            )
        )  # fmt: skip
    return rows


def angled() -> QuantumCircuit:
    """A circuit of fifty angles."""
    circuit, angles = QuantumCircuit(5, 5), ParameterVector("t", 50)
    for k in range(50):
        circuit.rz(angles[k], k % 5)
        circuit.sx(k % 5)
    circuit.measure(range(5), range(5))
    return circuit


def large_payloads() -> Iterator[tuple[str, str, bytes]]:
    """Payloads of 50 MB, or as many as are told."""
    values = np.random.default_rng(1).uniform(0, 6, (96_000 * MEGABYTES // 49, 50))
    yield "sampler, angles", "sampler", params([[angled(), values, 1]], {})
    bare = angled().remove_final_measurements(inplace=False)
    pub = [bare, {"IIIZZ": 1.0}, values, 0.5]
    yield "estimator, angles", "estimator", params([pub], {}, 0)
    yield "executor, angles", "executor", executor_job(0.0, values)
    rng = np.random.default_rng(2)
    pubs = []
    for _ in range(500):
        circuit = QuantumCircuit(5, 5)
        for k in range(400):
            circuit.rz(float(rng.uniform(0, 6)), k % 5)
            circuit.sx(k % 5)
        circuit.measure(range(5), range(5))
        pubs.append([circuit, np.zeros(0), 1])
    yield "sampler, 500 circuits of 800 gates", "sampler", params(pubs, {})


def memory(bench: Bench) -> list[Row]:
    """What a large payload takes at the peak, in the worker that opens it."""
    rows = []
    for name, program, payload in large_payloads():
        size = len(payload) / 2**20
        peak = bench.peak(program, payload)
        rows.append(
            Row(
                f"{name}: {size:.0f} MB posted, peak in the worker",
                f"{peak:.0f} MB, {peak / size:.1f} times", "≤ 10 times", peak <= 10 * size,
            )
        )  # fmt: skip
    return rows


def in_the_api() -> list[Row]:
    """What the process that serves the API keeps of large payloads, once they are written down."""
    import urllib.request

    payload = next(large_payloads())[2]
    body = b'{"program_id":"sampler","backend":"ket_manila","params":%b}' % payload
    size = len(body) / 2**20
    config = '[[qpus]]\nname = "ket_manila"\ndevice = "manila"\n'
    with serve(config) as server:
        headers = {**server.headers(), "Content-Type": "application/json"}

        def post(content: bytes) -> None:
            request = urllib.request.Request(f"{server.url}/api/v1/jobs", content, headers, method="POST")
            urllib.request.urlopen(request).close()

        post(body.replace(b'"pubs"', b'"pub"', 1))
        main = [server.process.pid]
        time.sleep(1.0)
        before = proportional_mb(main)
        for _ in range(3):
            post(body)
        time.sleep(0.5)
        kept, peak = proportional_mb(main) - before, peak_mb(main) - before
    return [
        Row(
            f"3 payloads of {size:.0f} MB posted: kept by the API's process",
            f"{kept:.0f} MB (at its peak {peak:.0f} MB more than idle)", "≤ 0.1 times", kept <= 0.1 * size,
        )
    ]  # fmt: skip


def main() -> list[Row]:
    """Measure the programs."""
    warnings.simplefilter("ignore")
    for module in tasks.PRELOAD:
        importlib.import_module(module)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        return [*small_jobs(bench), *many_circuits(bench), *memory(bench), *in_the_api()]


if __name__ == "__main__":
    show("Programs", main())
