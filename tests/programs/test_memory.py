"""How much memory a payload takes in the process that prepares it, in times of its size as posted."""

from __future__ import annotations

import base64
import gc
import io
import json
import os
import sys
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab import context
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import ParameterVector
from qiskit_ibm_runtime import RuntimeEncoder

from ketline.programs.base import open_params, program
from ketline.programs.recurring import Memory
from ketline.units.serial import write_unit

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def status_bytes(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def peak_bytes(program_id: str, payload: Path, folder: Path, warm: bytes) -> int:
    """By how much a child grows that reads a payload, prepares it and writes the unit down."""
    gc.collect()
    ours, theirs = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        told = b"failed"
        try:
            where = context(memory=Memory(1_000_000))
            # What is imported on first use isn't the payload's.
            small: Any = program(program_id).prepare(open_params(warm, where.limits), where)
            write_unit(folder / "warm", small.unit)
            Path("/proc/self/clear_refs").write_text("5")
            before = status_bytes("VmRSS")
            step: Any = program(program_id).prepare(open_params(payload.read_bytes(), where.limits), where)
            write_unit(folder / "unit", step.unit)
            told = str(status_bytes("VmHWM") - before).encode()
        finally:
            os.write(theirs, told)
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return int(told)


def angled() -> QuantumCircuit:
    circuit, angles = QuantumCircuit(5, 5), ParameterVector("t", 50)
    for k in range(50):
        circuit.rz(angles[k], k % 5)
        circuit.sx(k % 5)
    circuit.measure(range(5), range(5))
    return circuit


def payload(kind: str, sets: int) -> bytes:
    values = np.random.default_rng(1).uniform(0, 6, (sets, 50))
    if kind == "sampler":
        return json.dumps({"pubs": [[angled(), values, 1]]}, cls=RuntimeEncoder).encode()
    if kind == "estimator":
        bare = angled().remove_final_measurements(inplace=False)
        tree = {"pubs": [[bare, "IIIZZ", values, 0.5]], "resilience_level": 0}
        return json.dumps(tree, cls=RuntimeEncoder).encode()
    stream = io.BytesIO()
    qpy.dump([angled()], stream)
    raw = stream.getvalue()
    tensor = {
        "data": base64.b64encode(zlib.compress(values.tobytes())).decode(),
        "shape": list(values.shape),
        "dtype": "f64",
    }
    packed = base64.b64encode(zlib.compress(raw)).decode()
    quantum_program = {
        "shots": 1,
        "circuits": {"b64_data": packed, "qpy_version": raw[6], "num_programs": 1},
        "items": [{"item_type": "circuit", "circuit_arguments": tensor}],
    }
    return json.dumps({"schema_version": "v2.0", "quantum_program": quantum_program}).encode()


@pytest.mark.parametrize("kind", ["sampler", "estimator", "executor"])
def test_angles_take_a_few_times_their_size(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "payload"
    file.write_bytes(payload(kind, 30_000))
    size = file.stat().st_size
    assert size > 10_000_000
    assert peak_bytes(kind, file, tmp_path, payload(kind, 1)) < 8 * size
    assert (tmp_path / "unit").stat().st_size > 10_000_000


def test_circuits_take_a_few_times_their_size(tmp_path: Path) -> None:
    """Qiskit itself takes forty times what is posted of such circuits, so no more than a few may be open."""
    pubs = []
    for seed in range(300):
        turns = np.random.default_rng(seed).uniform(0, 6, 300)
        circuit = QuantumCircuit(5, 1)
        for k, turn in enumerate(turns.tolist()):
            circuit.rz(turn, k % 5)
            circuit.sx(k % 5)
        circuit.measure(0, 0)
        pubs.append([circuit, None, 1])
    file = tmp_path / "payload"
    file.write_bytes(json.dumps({"pubs": pubs}, cls=RuntimeEncoder).encode())
    size = file.stat().st_size
    assert size > 1_000_000
    assert peak_bytes("sampler", file, tmp_path, payload("sampler", 1)) < 10 * size
    assert (tmp_path / "unit").stat().st_size < size
