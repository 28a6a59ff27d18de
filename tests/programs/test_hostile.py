"""Thousands of spoiled payloads: each ends in a clear error of that one job, or is harmless."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hostile import MEMORY, case
from hostile_parts import packed, pub, samplex_params
from lab import context

from ketline.programs.base import Limits, open_params, program
from ketline.programs.wire.qasm3_text import check_qasm3
from ketline.programs.wire.slices import value_bytes
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
    assert all(name in ("qpy_case", "rare_qpy_case") and status == -6 for _, name, status in told["deaths"])
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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("qubit[1_000_000_000] q;", "a size of 1_000_000_000 isn't possible"),
        ("qubit[0xFFFFFFFF] q;", "a size of 0xFFFFFFFF isn't possible"),
        ("bit /* as */ [0b1111_1111_1111_1111] c;", "a size of"),
        ("qubit[1000 * 1000] q;", "a size of"),
        ("qubit[2 ** 40] q;", "a size of"),
        ("creg c[99999999];", "a size of"),
        ("@note /*\nqubit[900000000] q;\n@note */\nqubit r;", "a size of"),
        ("x $99999999;", r"the qubit \$99999999 isn't possible"),
        ("".join(f"qubit[9000] q{i};" for i in range(9)), "registers of 81000 qubits"),
        (
            "gate g0 a { x a; } "
            + "".join(f"gate g{i} a {{ g{i - 1} a; inv @ g{i - 1} a; }} " for i in range(1, 40)),
            "the gate g14 comes to 16384 gates",
        ),
    ],
)
def test_openqasm_that_would_grow_is_refused_unread(text: str, words: str) -> None:
    raw = pub('OPENQASM 3.0; include "stdgates.inc"; ' + text)
    start = time.perf_counter()
    with pytest.raises(JobError, match=words):
        program("sampler").prepare(open_params(raw, Limits()), context())
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("part", ["gate a ", "gate a {", "bit[", "/* ", "a @ ", "gate a { x @ ", "qubit[1_"])
def test_looking_at_openqasm_takes_no_longer_than_the_text(part: str) -> None:
    start = time.process_time()
    with suppress(JobError):
        check_qasm3(part * 100_000, "circuit")
    assert time.process_time() - start < 3


def test_long_loops_are_no_sizes() -> None:
    check_qasm3("for int i in [20000:30000] { x q[0]; }", "circuit")
    check_qasm3("qubit[3 * 2] q; bit[0x0f] c; x $12;", "circuit")


@pytest.mark.parametrize("name", ["x", "rzz", "delay", "if_else", "box", "measure", "barrier", "rz"])
def test_a_gate_of_its_own_does_not_pass_for_a_known_one(name: str) -> None:
    import io

    from qiskit import QuantumCircuit, qpy
    from qiskit.circuit import Gate

    inside = QuantumCircuit(1)
    inside.h(0)
    gate = Gate(name, 1, [])
    gate.definition = inside
    circuit = QuantumCircuit(1)
    circuit.append(gate, [0])
    stream = io.BytesIO()
    qpy.dump(circuit, stream)
    raw = pub({"__type__": "QuantumCircuit", "__value__": packed(stream.getvalue())})
    for simulator in (False, True):
        with pytest.raises(JobError, match=f"a gate of its own is called {name}"):
            program("sampler").prepare(open_params(raw, Limits()), context(simulator=simulator))


def spoiled_samplex(*path: str | int, value: object) -> bytes:
    """An executor job whose samplex has something else at a place of its JSON."""
    tree = json.loads(json.dumps(samplex_params()))
    samplex = tree["quantum_program"]["items"][0]["samplex"]
    inner = json.loads(samplex["samplex_json"])
    if path[0] == "nodes":
        inner["nodes"][path[1]][path[2]] = value
    else:
        holder = json.loads(inner["attrs"][path[0]])
        specification = json.loads(holder[path[1]])
        specification[path[2]] = value
        holder[path[1]] = json.dumps(specification)
        inner["attrs"][path[0]] = json.dumps(holder)
    samplex["samplex_json"] = json.dumps(inner)
    return json.dumps(tree).encode()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (spoiled_samplex("nodes", 2, "id", value=2**31), "the number 2147483648 of a node isn't possible"),
        (spoiled_samplex("nodes", 2, "id", value=-1), "samplex"),
        (
            spoiled_samplex("output_specification", "parameter_values", "name", value=7),
            r"items\[0\]",
        ),
        (
            spoiled_samplex("output_specification", "measurement_flips.c", "shape", value=[10**12, 1, 2]),
            r"items\[0\]",
        ),
    ],
)
def test_a_samplex_that_lies_ends_in_an_error(raw: bytes, words: str) -> None:
    with pytest.raises(JobError, match=words):
        program("executor").prepare(open_params(raw, Limits()), context())


def test_passthrough_data_are_found_whatever_their_key_is_written_like() -> None:
    raw = json.dumps(samplex_params()).replace('"passthrough_data"', '"passthrough\\u005fdata"').encode()
    assert value_bytes(raw, ("quantum_program", "passthrough_data")) == b'{"x": 1}'
