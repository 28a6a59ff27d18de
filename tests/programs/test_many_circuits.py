"""Payloads of many circuits: each is opened when it is its turn, and what waits is packed."""

from __future__ import annotations

import base64
import gc
import io
import json
import weakref
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from lab import context, emulate
from qiskit import QuantumCircuit, qpy
from qiskit_ibm_runtime import RuntimeEncoder

from ketline.config import QpuSettings
from ketline.errors import INPUT_NOT_READ, LIMIT_EXCEEDED, NOT_IN_TARGET
from ketline.programs.base import Prepared, ProgramContext, open_params, program
from ketline.programs.recurring import Memory
from ketline.qpus.emulator import Emulator
from ketline.units import packing
from ketline.units.errors import JobError
from ketline.units.packing import Items, PackedCircuit, PackedItem
from ketline.units.serial import unit_bytes, unit_from_bytes
from ketline.units.work import WorkItem, WorkUnit

COUNT = 40


def turning(seed: int, gates: int = 150, *, measured: bool = True) -> QuantumCircuit:
    circuit = QuantumCircuit(5, 1 if measured else 0, metadata={"seed": seed})
    for k, angle in enumerate(np.random.default_rng(seed).uniform(0, 6, gates).tolist()):
        circuit.rz(angle, k % 5)
        circuit.sx(k % 5)
    if measured:
        circuit.measure(0, 0)
    return circuit


def sampler_payload(count: int, options: dict[str, Any] | None = None, gates: int = 150) -> bytes:
    pubs = [[turning(seed, gates), None, 16] for seed in range(count)]
    tree = {"pubs": pubs, "options": {"simulator": {"seed_simulator": 5}, **(options or {})}}
    return json.dumps(tree, cls=RuntimeEncoder).encode()


def estimator_payload(count: int) -> bytes:
    pubs = [[turning(seed, measured=False), {"IIIIZ": 1.0, "IIIIX": 0.5}, None, 0.3] for seed in range(count)]
    tree = {"pubs": pubs, "resilience_level": 1, "options": {"seed_estimator": 5}}
    return json.dumps(tree, cls=RuntimeEncoder).encode()


def executor_payload(circuits: list[QuantumCircuit], version: int = 17) -> dict[str, Any]:
    stream = io.BytesIO()
    qpy.dump(circuits, stream, version=version)
    empty = base64.b64encode(zlib.compress(b"")).decode()
    return {
        "schema_version": "v2.0",
        "quantum_program": {
            "shots": 16,
            "circuits": {
                "b64_data": base64.b64encode(zlib.compress(stream.getvalue())).decode(),
                "qpy_version": version,
                "num_programs": len(circuits),
            },
            "items": [
                {
                    "item_type": "circuit",
                    "circuit_arguments": {"data": empty, "shape": [0], "dtype": "f64"},
                }
            ]
            * len(circuits),
        },
    }


def executed(circuits: list[QuantumCircuit], version: int = 17) -> bytes:
    return json.dumps(executor_payload(circuits, version)).encode()


TWIRLED = {"twirling": {"enable_gates": True, "enable_measure": True}}
PAYLOADS = {
    "sampler": sampler_payload(COUNT),
    "sampler twirled": sampler_payload(8, TWIRLED, gates=30),
    "estimator": estimator_payload(20),
    "executor": executed([turning(seed) for seed in range(COUNT)]),
    "executor old": executed([turning(seed) for seed in range(5)], version=14),
}


def prepared(kind: str, payload: bytes, where: ProgramContext) -> Prepared:
    step = program(kind.split(maxsplit=1)[0]).prepare(open_params(payload, where.limits), where)
    assert isinstance(step, Prepared)
    return step


@pytest.mark.parametrize("kind", PAYLOADS)
def test_packing_changes_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bits = []
    for room in (0, 10**12):
        monkeypatch.setattr(packing, "OPEN_BYTES", room)
        step = prepared(kind, PAYLOADS[kind], context(memory=Memory(0)))
        assert {isinstance(item, PackedItem) for item in step.unit.items} == {room == 0}
        outcome = emulate(replace(step.unit, seed=5), context())
        bits.append([item.bits for item in outcome.items])
    for first, second in zip(*bits, strict=True):
        assert first.keys() == second.keys()
        assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("kind", ["sampler", "executor"])
def test_a_packed_circuit_is_opened_once_for_admission_and_kept_by_nobody(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[weakref.ref[QuantumCircuit]] = []
    real = PackedCircuit.open

    def counted(self: PackedCircuit) -> QuantumCircuit:
        circuit = real(self)
        opened.append(weakref.ref(circuit))
        return circuit

    monkeypatch.setattr(PackedCircuit, "open", counted)
    monkeypatch.setattr(packing, "OPEN_BYTES", 0)
    unit = prepared(kind, PAYLOADS[kind], context(memory=Memory(0))).unit
    assert not opened
    Emulator.admit(unit, context().device, QpuSettings(name="ket_manila"))
    assert len(opened) == COUNT
    back = unit_from_bytes(unit_bytes(unit))
    assert unit.executions == back.executions == 16 * COUNT
    assert len(opened) == COUNT
    assert back.items[3].circuit == turning(3)
    gc.collect()
    assert [one() for one in opened] == [None] * (COUNT + 1)


@pytest.mark.parametrize("kind", ["sampler", "estimator", "executor"])
def test_a_job_holds_a_few_open_circuits_at_a_time(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All circuits that are read from QPY or made of such are counted each time that one more is read."""
    monkeypatch.setattr(packing, "OPEN_BYTES", 300_000)  # two or three of them
    most = 0
    real = qpy.load

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal most
        gc.collect()
        alive = sum(type(one) is QuantumCircuit for one in gc.get_objects())
        most = max(most, alive)
        return real(*args, **kwargs)

    monkeypatch.setattr(qpy, "load", counted)
    where = context(memory=Memory(0))
    params = open_params(PAYLOADS[kind], where.limits)
    gc.collect()
    gc.freeze()
    try:
        step: Any = program(kind).prepare(params, where)
        Emulator.admit(step.unit, where.device, QpuSettings(name="ket_manila"))
    finally:
        gc.unfreeze()
    assert 0 < most <= 12


def test_long_circuits_are_found_as_waste_before_python_would_look() -> None:
    gc.collect()
    gc.disable()
    try:
        circuit = turning(1)
        gone = weakref.ref(circuit)
        del circuit
        assert gone() is not None  # circuits refer to themselves
        packing.done_with(packing.WASTE_BYTES + 1)
        assert gone() is None
    finally:
        gc.enable()


def test_an_item_keeps_its_circuit_as_long_as_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "OPEN_BYTES", 0)
    items = Items()
    items.append(WorkItem(turning(1), np.zeros((2, 0)), 7, chunk_sets=1))
    (item,) = items
    assert item.circuit is item.circuit
    assert item.circuit is not items[0].circuit
    assert item.circuit == items[:1][0].circuit
    assert (item.shots, item.chunk_sets, len(item.parameter_values)) == (7, 1, 2)
    with pytest.raises(AttributeError, match="colour"):
        item.colour  # noqa: B018
    assert WorkUnit(items).executions == 14


def _swapped(raw: bytearray) -> None:
    raw[20:28], raw[28:36] = raw[28:36], raw[20:28]


def _cut(raw: bytearray) -> None:
    del raw[-40:]


def _beyond(raw: bytearray) -> None:
    raw[28:36] = (2**63).to_bytes(8, "big")


def _more(raw: bytearray) -> None:
    raw[10:18] = (3).to_bytes(8, "big")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [(_swapped, "aren't in order"), (_cut, "QPY"), (_beyond, "cut short|QPY"), (_more, "3 circuits instead")],
)
def test_qpy_that_lies_about_where_its_circuits_are(spoil: Callable[[bytearray], None], message: str) -> None:
    tree = executor_payload([turning(1), turning(2)])
    holder = tree["quantum_program"]["circuits"]
    raw = bytearray(zlib.decompress(base64.b64decode(holder["b64_data"])))
    spoil(raw)
    holder["b64_data"] = base64.b64encode(zlib.compress(raw)).decode()
    with pytest.raises(JobError, match=message) as caught:
        prepared("executor", json.dumps(tree).encode(), context())
    assert caught.value.code == INPUT_NOT_READ.code


def test_the_last_circuit_of_many_is_checked_before_anything_runs() -> None:
    wrong = turning(9)
    wrong.h(0)
    for kind, payload in (
        ("sampler", json.loads(sampler_payload(20))),
        ("executor", executor_payload([*map(turning, range(20)), wrong])),
    ):
        if kind == "sampler":
            payload["pubs"].append(json.loads(json.dumps([wrong], cls=RuntimeEncoder)))
        with pytest.raises(JobError) as caught:
            prepared(kind, json.dumps(payload).encode(), context())
        assert caught.value.code == NOT_IN_TARGET.code


def test_limits_count_all_circuits_and_tell_the_whole() -> None:
    tight = replace(context().limits, max_executions=16 * COUNT - 1)
    with pytest.raises(JobError, match=f"{16 * COUNT}") as caught:
        prepared("sampler", PAYLOADS["sampler"], replace(context(), limits=tight))
    assert caught.value.code == LIMIT_EXCEEDED.code
