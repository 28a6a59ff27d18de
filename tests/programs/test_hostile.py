"""Thousands of spoiled payloads: each ends in a clear error of that one job, or is harmless."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hostile import MEMORY, case, packed, pub
from lab import context

from ketline.programs.base import Limits, open_params, program
from ketline.units.errors import JobError

CASES = 2000


@pytest.mark.slow
def test_the_corpus() -> None:
    script = Path(__file__).with_name("hostile.py")
    ended = subprocess.run(
        [sys.executable, script, str(CASES)], check=True, capture_output=True, timeout=200, cwd=script.parent
    )
    told = json.loads(ended.stdout)
    assert told["escaped"] == []
    assert sum(told["tally"].values()) + len(told["deaths"]) == CASES
    # Qiskit's reader aborts when it can't allocate what a header announces; nothing else may end a worker.
    assert all(name == "qpy_case" and status == -6 for _, name, status in told["deaths"])
    assert len(told["deaths"]) < CASES / 50
    assert told["tally"]["error 1603"] > CASES / 2
    assert told["tally"].get("ok", 0) > 0, "some mutations are harmless"
    assert told["slowest_seconds"] < 10
    assert told["peak_bytes"] < MEMORY


def test_the_corpus_is_always_the_same() -> None:
    assert [case(number) for number in range(20)] == [case(number) for number in range(20)]


def test_nothing_is_imported_by_name() -> None:
    named = {"__type__": "settings", "__module__": "antigravity", "__class__": "x", "__value__": {}}
    assert "antigravity" not in sys.modules
    with pytest.raises(JobError):
        program("sampler").prepare(open_params(pub(named), Limits()), context())
    assert "antigravity" not in sys.modules


def test_a_bomb_is_stopped_on_the_way() -> None:
    import tracemalloc
    import zlib
    from base64 import b64encode

    bomb = b64encode(zlib.compress(bytes(300_000_000), 9)).decode()
    raw = pub({"__type__": "QuantumCircuit", "__value__": bomb})
    limits = Limits(max_decompressed_bytes=5_000_000)
    tracemalloc.start()
    with pytest.raises(JobError, match="grows beyond 5,000,000 bytes") as caught:
        program("sampler").prepare(open_params(raw, limits), context(limits=limits))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.code == 9401
    assert peak < 40_000_000


def test_old_qpy_that_readers_evaluate_is_refused() -> None:
    raw = bytearray(b"QISKIT" + bytes(60))
    for version in (1, 9, 10, 12):
        raw[6] = version
        with pytest.raises(JobError, match=f"QPY version {version} isn't supported"):
            program("sampler").prepare(
                open_params(pub({"__type__": "QuantumCircuit", "__value__": packed(bytes(raw))}), Limits()),
                context(),
            )


def test_the_nesting_of_json_is_limited() -> None:
    deep = b'{"pubs": ' + b"[" * 300 + b"]" * 300 + b"}"
    with pytest.raises(JobError, match="nested more than 200 deep"):
        open_params(deep, Limits())
