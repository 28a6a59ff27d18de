"""Hostile payloads: a seeded corpus of mutations, and a driver that opens them as a compute worker would.

``python hostile.py CASES`` opens so many of them, each in `prepare`, in a child with a limit on memory, and
prints what became of them as JSON. A child that dies (Qiskit's reader aborts when it can't allocate what a
header announces) is replaced, as the pool of workers does.
"""

from __future__ import annotations

import base64
import io
import json
import os
import random
import resource
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from hostile_parts import circuit_files, circuits, packed, places, pub, put, samplex_params

MEMORY = 3 << 30
LIMIT_BYTES = 5_000_000
MARKERS = ("antigravity", "this", "idlelib.idle")
"""Modules that only a payload could want to import."""

Case = tuple[str, bytes]


def spoiled(raw: bytes, rng: random.Random) -> bytes:
    """Bytes with a few of them changed, cut out or cut off."""
    data = bytearray(raw)
    mode = rng.random()
    if mode < 0.15:
        return bytes(data[: rng.randrange(len(data))])
    if mode < 0.7:
        for _ in range(rng.choice((1, 1, 2, 5))):
            data[rng.randrange(len(data))] = rng.randrange(256)
    elif mode < 0.9:
        at = rng.randrange(max(1, len(data) - 8))
        data[at : at + 4] = rng.choice(
            (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\xff\xff")
        )
    else:
        first, second = sorted((rng.randrange(len(data)), rng.randrange(len(data))))
        del data[first:second]
    return bytes(data)


def qpy_case(rng: random.Random) -> Case:
    raw = spoiled(rng.choice(circuits(rng.choice((13, 14, 15, 16, 17, 18)))), rng)
    return "sampler", pub(
        {"__type__": "QuantumCircuit", "__value__": packed(raw)}, rng.choice((None, [[0.0, 0.0]]))
    )


def wrapped_case(rng: random.Random) -> Case:
    text = packed(circuits(17)[1])
    how = rng.randrange(5)
    if how == 0:
        text = text[: rng.randrange(len(text))]
    elif how == 1:
        at = rng.randrange(len(text))
        text = text[:at] + rng.choice("*-_\n\u20ac =A") + text[at + 1 :]
    elif how == 2:
        text = base64.b64encode(spoiled(base64.b64decode(text), rng)).decode()
    elif how == 3:
        bomb = zlib.compress(bytes(LIMIT_BYTES * rng.choice((2, 20))), 9)
        text = base64.b64encode(bomb).decode()
    else:
        text = base64.b64encode(base64.b64decode(text) + b"tail").decode()
    return "sampler", pub({"__type__": "QuantumCircuit", "__value__": text})


def npy_case(rng: random.Random) -> Case:
    stream = io.BytesIO()
    np.save(stream, np.zeros((2, 2)))
    raw = stream.getvalue()
    headers = (
        b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (4000000000, 4000000000), }",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }",
        b"{'descr': [('a', '<f8'), ('b', '|O')], 'fortran_order': False, 'shape': (1,), }",
        b"{'descr': '<U900000000', 'fortran_order': False, 'shape': (1,), }",
        b"__import__('antigravity')",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (" + b"(" * 500 + b"), }",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (2, 2), 'x': 1}",
        b"{'descr': '<c16', 'fortran_order': True, 'shape': (1, 2), }",
        b"{" * 5000,
    )
    if rng.random() < 0.5:
        header = rng.choice(headers) + b" " * rng.randrange(40) + b"\n"
        raw = b"\x93NUMPY" + bytes((rng.choice((1, 2, 3, 9)), 0)) + len(header).to_bytes(2, "little") + header
        raw += bytes(32)
    raw = spoiled(raw, rng) if rng.random() < 0.6 else raw
    circuit = {"__type__": "QuantumCircuit", "__value__": packed(circuits(17)[0])}
    return "sampler", pub(circuit, {"__type__": "ndarray", "__value__": packed(raw)})


def tensor_case(rng: random.Random) -> Case:
    tree = json.loads(json.dumps(samplex_params()))
    program = tree["quantum_program"]
    item = program["items"][0]
    shape = rng.choice(
        ([1], [0], [-1], [2**62, 2**62], [10**6] * 5, [1] * 40, ["1"], [True], 5, [[1]], [3, 2])
    )
    dtype = rng.choice(("f64", "bool", "u8", "c128", "f16", "O", "object", None, 5))
    data = rng.choice((packed(bytes(16)), packed(b""), "", "%%%", None, packed(bytes(LIMIT_BYTES + 5))))
    tensor = {"data": data, "shape": shape, "dtype": dtype}
    if rng.random() < 0.5:
        program["items"][0] = {
            "item_type": "circuit",
            "circuit_arguments": tensor,
            "shape": rng.choice(([], shape)),
            "chunk_size": "auto",
        }
    else:
        item["samplex_arguments"] = {rng.choice(("parameter_values", "x", "noise_scales.a", "")): tensor}
        item["shape"] = rng.choice(([3], shape))
    return "executor", json.dumps(tree).encode()


def samplex_case(rng: random.Random) -> Case:
    tree = json.loads(json.dumps(samplex_params()))
    samplex = tree["quantum_program"]["items"][0]["samplex"]
    text = samplex["samplex_json"]
    mode = rng.random()
    if mode < 0.3:
        samplex["samplex_json"] = spoiled(text.encode(), rng).decode("utf-8", "replace")
    elif mode < 0.4:
        samplex["ssv"] = rng.choice((0, 5, 99, "4", None, True))
    elif mode < 0.55:
        inner = json.loads(text)
        table = json.loads(inner["attrs"]["param_table"])
        raw = bytearray(base64.b64decode(table["circuit_base64"]))
        raw[6] = rng.choice((1, 9, 10, 12, 15, 200))
        table["circuit_base64"] = base64.b64encode(spoiled(bytes(raw), rng)).decode()
        inner["attrs"]["param_table"] = json.dumps(table)
        samplex["samplex_json"] = json.dumps(inner)
    else:
        inner = json.loads(text)
        node = rng.choice(inner["nodes"])["data"]
        key = rng.choice(list(node))
        node[key] = rng.choice(
            (
                "",
                "null",
                "[]",
                "-1",
                "99999999999",
                "os",
                node[key][::-1],
                json.dumps({"data": "", "shape": [9]}),
            )
        )
        samplex["samplex_json"] = json.dumps(inner)
    return "executor", json.dumps(tree).encode()


def rare_qpy_case(rng: random.Random) -> Case:
    raw = rng.choice(circuit_files(rng.choice((14, 17, 18))))
    at = rng.randrange(10, len(raw))
    number = rng.choice((b"\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1\0\0\0\0", b"\0\0\0\0\x10\0\0\0", b"\0\0"))
    raw = raw[:at] + number + raw[at + len(number) :]
    return "sampler", pub({"__type__": "QuantumCircuit", "__value__": packed(raw)})


def deep_samplex_case(rng: random.Random) -> Case:
    tree = json.loads(json.dumps(samplex_params()))
    samplex = tree["quantum_program"]["items"][0]["samplex"]
    inner = json.loads(samplex["samplex_json"])
    value = rng.choice(
        (-1, 0, 10**9, 2**31, 10**30, None, "", [], {}, 1e308, True, [10**6] * 4, str(10**12), "None")
    )
    samplex["samplex_json"] = json.dumps(put(inner, rng.choice(list(places(inner))), value))
    return "executor", json.dumps(tree).encode()


def size_case(rng: random.Random) -> Case:
    large = rng.choice((0, -1, 10**6, 10**9, 2**31, 2**62, 2**63, 10**30, 1e300))
    options = rng.choice(
        (
            {"default_shots": large},
            {"default_precision": 1 / large if large else 0},
            {"twirling": {"num_randomizations": large, "shots_per_randomization": large}},
            {"resilience": {"measure_noise_learning": {"num_randomizations": large}}},
            {"resilience": {"zne_mitigation": True, "zne": {"noise_factors": [1, 3, large]}}},
            {
                "resilience": {
                    "pec_mitigation": True,
                    "layer_noise_learning": {"layer_pair_depths": [0, large]},
                }
            },
            {"resilience": {"pec_mitigation": True, "layer_noise_learning": {"num_randomizations": large}}},
            {"simulator": {"seed_simulator": large}},
            {"execution": {"rep_delay": large}},
        )
    )
    body = {"pubs": [['OPENQASM 3.0; include "stdgates.inc"; cx $0, $1;', "ZZIII"]], "options": options}
    return "estimator", json.dumps(body).encode()


def qasm_case(rng: random.Random) -> Case:
    text = (
        'OPENQASM 3.0; include "stdgates.inc"; input float t; qubit[5] q; bit[2] c; const int n = 2;'
        "gate g(a) x { rz(a) x; } rz(t * n) q[0]; for int i in [0:2] { x q[i]; }"
        "if (c[0]) { x q[1]; } c[0] = measure q[0];"
    )
    mode = rng.random()
    if mode < 0.6:
        text = spoiled(text.encode(), rng).decode("utf-8", "replace")
    else:
        text = rng.choice(
            (
                'include "/etc/passwd";',
                "OPENQASM 2.0; qreg q[2];",
                "qubit[999999999] q;",
                "(" * 3000,
                "x $99999999;",
                "const int n = 2 ** 2 ** 2 ** 2 ** 2 ** 2; qubit[n] q;",
                "OPENQASM 3.0; bit[4000000000] c;",
                "\0",
                "",
                'OPENQASM 3.0; defcalgrammar "openpulse"; cal { }',
                "extern f(int) -> int; f(3);",
                "import os",
                "OPENQASM 3.0; const int n = 900000000; qubit[n] q;",
                "OPENQASM 3.0; int i = 1/0;",
                "qubit[0xFFFFFFFF] q;",
                "qubit[1_000_000_000] q;",
                "qubit[99999 * 99999] q;",
                "gate a x { U(0, 0, 0) x; } "
                + "".join(
                    f"gate a{'b' * n} x {{ {'a' + 'b' * (n - 1)} x; {'a' + 'b' * (n - 1)} x; }} "
                    for n in range(1, 40)
                )
                + "qubit q;",
                'include "stdgates.inc"; qubit q; for int i in [0:1000000000000] { x q; }',
            )
        )
    return "sampler", pub(text, rng.choice((None, [[0.5]])))


def json_case(rng: random.Random) -> Case:
    deep: Any = 0.0
    depth = rng.choice((10, 150, 250, 900, 5000))
    text = "[" * depth + "0.0" + "]" * depth
    named = {
        "__type__": rng.choice(
            ("settings", "_json", "to_json", "spmatrix", "Result", "NoiseModel", "Parameter", 7)
        ),
        "__module__": rng.choice((*MARKERS, "os", "qiskit.quantum_info.operators.antigravity")),
        "__class__": rng.choice(("system", "PauliList", "LayerError", "__builtins__")),
        "__value__": rng.choice((deep, {}, [], "x", {"data": ["XX"]}, {"a": {"b": 1}})),
    }
    circuit = {"__type__": "QuantumCircuit", "__value__": packed(circuits(17)[0])}
    bodies = (
        b'{"pubs": [["OPENQASM 3.0;", ' + text.encode() + b"]]}",
        b'{"pubs": ' + text.encode() + b"}",
        pub(named),
        pub(circuit, named),
        pub(circuit, {"__type__": "BindingsArray", "__value__": {"data": {"[1]": [0.0]}}}),
        pub(
            circuit,
            {"__type__": "BindingsArray", "__value__": {"data": {'["a[0]","a[1]"]': [[0.0]]}, "shape": [7]}},
        ),
        pub(circuit, [[0.0, 0.0]], options=named),
        pub(circuit, [[0.0, 0.0]], options={"simulator": {"noise_model": named}}),
        pub(
            circuit, [[0.0, 0.0]], options={"twirling": {"num_randomizations": 10**12, "enable_gates": True}}
        ),
        pub(circuit, [[1e308, 5e-324]], options={"default_shots": 10**18}),
        json.dumps({"pubs": [[circuit, [[0.0, 0.0]], rng.choice((10**30, -1, True, 1.5, "9"))]]}).encode(),
        b'{"pubs": NaN}',
        b"[]",
        b"",
        b"\xff\xfe",
        b'{"pubs": [1]}',
        b'{"pubs": [[]]}',
        b'{"pubs": {"a": 1}}',
    )
    return rng.choice(("sampler", "sampler", "executor")), rng.choice(bodies)


KINDS: tuple[tuple[Callable[[random.Random], Case], int], ...] = (
    (qpy_case, 10),
    (wrapped_case, 2),
    (npy_case, 2),
    (tensor_case, 3),
    (samplex_case, 3),
    (rare_qpy_case, 4),
    (deep_samplex_case, 3),
    (size_case, 1),
    (qasm_case, 2),
    (json_case, 3),
)


def case(number: int) -> tuple[str, Case]:
    """Case ``number`` of the corpus; always the same."""
    rng = random.Random(number)
    make = rng.choices([kind for kind, _ in KINDS], [weight for _, weight in KINDS])[0]
    return make.__name__, make(rng)


def open_case(number: int) -> str:
    """Open one case: ``ok``, ``error CODE``, or the name of what escaped."""
    from lab import context

    from ketline.programs.base import Limits, open_params, program
    from ketline.units.errors import JobError

    where = context(limits=Limits(max_decompressed_bytes=LIMIT_BYTES, max_result_bytes=50_000_000))
    _, (program_id, raw) = case(number)
    try:
        program(program_id).prepare(open_params(raw, where.limits), where)
    except JobError as error:
        return f"error {error.code}" if error.message else "escaped: an error without a message"
    except BaseException as error:
        return f"escaped {type(error).__name__}: {str(error)[:200]}"
    return "ok"


def drive(cases: int) -> dict[str, Any]:
    """Open cases in forked children; a new child after each death."""
    for number in range(20):
        open_case(number)
    before = {name for name in MARKERS if name in sys.modules}
    tally: Counter[str] = Counter()
    escaped, deaths, slowest, at = [], [], 0.0, 0
    while at < cases:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, 2)
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            with os.fdopen(writer, "w") as out:
                for number in range(at, cases):
                    start = time.perf_counter()
                    ended = open_case(number)
                    if {name for name in MARKERS if name in sys.modules} - before:
                        ended = "escaped: a module was imported by name"
                    out.write(json.dumps([ended, time.perf_counter() - start]) + "\n")
                    out.flush()
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as lines:
            for line in lines:
                ended, seconds = json.loads(line)
                slowest = max(slowest, seconds)
                tally[ended.split(":")[0]] += 1
                if ended.startswith("escaped"):
                    escaped.append([at, case(at)[0], ended])
                at += 1
        _, status = os.waitpid(child, 0)
        if at < cases:
            deaths.append([at, case(at)[0], os.waitstatus_to_exitcode(status)])
            at += 1
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return {
        "tally": tally,
        "escaped": escaped,
        "deaths": deaths,
        "slowest_seconds": slowest,
        "peak_bytes": peak,
    }


if __name__ == "__main__":
    print(json.dumps(drive(int(sys.argv[1]))))
