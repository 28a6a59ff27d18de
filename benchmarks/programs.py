"""Programs: how long preparing takes, how it grows, and what memory it needs; as a compute worker does it.

Each figure of a worker is taken in a child forked from a warm parent, from the payload's file to the unit's,
the driver's admission included. *Fresh* circuits are ones that the worker never saw; *again* means that the
same instance posted the same circuits before. Times are processor time. A payload's size is that of its JSON
as posted.
"""

from __future__ import annotations

import gc
import importlib
import os
import pickle
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from qiskit import QuantumCircuit

from benchmarks.harness import Row, median, peak_mb, proportional_mb, serve, show
from benchmarks.payloads import (
    DEVICE,
    ansatz_jobs,
    bells,
    chain,
    large_payloads,
    params,
    sampler_angles,
    small_job,
    small_jobs,
)
from ketline.config import QpuSettings
from ketline.service import tasks

ValueT = TypeVar("ValueT")

TARGET_MS = 20.0
SETTINGS = QpuSettings(name="ket_fez", device="fez").model_dump(mode="json")


def in_a_worker(action: Callable[[], ValueT]) -> ValueT:
    """What an action gives in a fresh child of this process.

    Payloads are made in one too: what transpiles leaves threads behind that no further child would have. The
    action gets a thread, as in a real worker: in the main one, Rust's libraries draw what the parent's draw.
    """
    ours, theirs = os.pipe()
    gc.collect()
    gc.freeze()
    child = os.fork()
    if child == 0:
        with os.fdopen(theirs, "wb") as pipe, ThreadPoolExecutor(1) as thread:
            pickle.dump(thread.submit(action).result(), pipe)
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
        """By how many MB a worker that has worked before grows at its peak while it prepares a payload."""

        def action() -> float:
            tasks.warm({"devices": [str(self.folder / "device.json")]})
            self.prepare(program, small_job(program))
            gc.collect()
            Path("/proc/self/clear_refs").write_text("5")
            before = status_mb("VmRSS")
            self.prepare(program, payload, "a")
            return status_mb("VmHWM") - before

        return in_a_worker(action)


def preparing(bench: Bench) -> list[Row]:
    """Preparing one small job, program by program."""
    rows = []
    for name, (program, payloads) in in_a_worker(small_jobs).items():
        fresh, again = (1e3 * seconds for seconds in bench.times(program, payloads))
        rows.append(_prepared(f"{name}: a fresh Bell circuit", fresh))
        rows.append(_prepared(f"{name}: the same again", again))
    for level in (1, 2):
        payloads = in_a_worker(partial(ansatz_jobs, level))
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
        many, ones = in_a_worker(partial(_many_and_ones, pub, level, measured=program == "sampler"))
        single, _ = bench.times(program, ones)
        together = bench.times(program, [ones[0], many])[0] / 1000
        rows.append(
            Row(
                f"{name}: each of 1,000 circuits against one alone",
                f"{together * 1e3:.2f} ms, {single * 1e3:.2f} ms", "≤ 1 times", together <= single,
            )
        )  # fmt: skip
    return rows


def _many_and_ones(
    pub: Callable[[QuantumCircuit], list[Any]], level: int | None, *, measured: bool
) -> tuple[bytes, list[bytes]]:
    pubs = [pub(circuit) for circuit in bells(1000, measured=measured)]
    return params(pubs, {}, level), [params([one], {}, level) for one in pubs[:12]]


def memory(bench: Bench) -> list[Row]:
    """What a large payload takes at the peak, in the worker that opens it."""
    rows = []
    for name, (program, make) in large_payloads().items():
        payload = in_a_worker(make)  # what making it leaves behind isn't this process's
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

    payload = in_a_worker(sampler_angles)
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
        return [*preparing(bench), *many_circuits(bench), *memory(bench), *in_the_api()]


if __name__ == "__main__":
    show("Programs", main())
