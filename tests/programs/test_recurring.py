"""What recurs isn't prepared again: within a tenant, within bounds, and without touching chance."""

from __future__ import annotations

import copy
import json
import tracemalloc
from dataclasses import replace
from functools import partial
from typing import Any

import lab
import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import EstimatorV2, RuntimeEncoder, SamplerV2

from ketline.programs import sampler
from ketline.programs.base import Prepared, ProgramContext, open_params, program
from ketline.programs.mitigation import amplified
from ketline.programs.recurring import Memory, Recurring
from ketline.units.packing import circuit_bytes
from ketline.units.serial import unit_bytes

TWIRLED = {"twirling": {"enable_gates": True, "enable_measure": True}}
DECOUPLED = {"dynamical_decoupling": {"enable": True, "sequence_type": "XY4"}}


def bell(measured: bool = True, angle: float = 0.5) -> QuantumCircuit:
    circuit = QuantumCircuit(5, 2 if measured else 0)
    circuit.sx(1)
    circuit.rz(angle, 1)
    circuit.cx(1, 0)
    if measured:
        circuit.measure([0, 1], [0, 1])
    return circuit


def sampler_params(options: dict[str, Any], circuit: QuantumCircuit | None = None) -> bytes:
    pubs = [[circuit or bell(), None, 64]]
    return json.dumps({"pubs": pubs, "options": options, "version": 2}, cls=RuntimeEncoder).encode()


def estimator_params(level: int, options: dict[str, Any]) -> bytes:
    pubs = [[bell(measured=False), [{"IIIZZ": 1.0, "IIIXX": 0.5}], None, 0.1]]
    tree = {"pubs": pubs, "options": options, "resilience_level": level, "version": 2}
    return json.dumps(tree, cls=RuntimeEncoder).encode()


def prepared(program_id: str, raw: bytes, context: ProgramContext) -> Prepared:
    step = program(program_id).prepare(open_params(raw, context.limits), context)
    assert isinstance(step, Prepared)
    return step


@pytest.fixture
def twirls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts how often circuits are really twirled."""
    calls: list[int] = []
    for module in (sampler, amplified):
        real = module.twirl

        def counted(*args: Any, real: Any = real, **kwargs: Any) -> Any:
            calls.append(1)
            return real(*args, **kwargs)

        monkeypatch.setattr(module, "twirl", counted)
    return calls


def tenants() -> tuple[ProgramContext, ProgramContext]:
    memories = Recurring()
    return lab.context(memory=memories.of("a")), lab.context(memory=memories.of("b"))


@pytest.mark.parametrize(
    ("program_id", "raw", "times"),
    [
        ("sampler", sampler_params({**TWIRLED, **DECOUPLED}), 1),
        ("estimator", estimator_params(2, {}), 1),
        ("estimator", estimator_params(2, DECOUPLED), 1),
    ],
)
def test_a_second_job_of_the_tenant_finds_its_templates_and_another_tenant_none(
    program_id: str, raw: bytes, times: int, twirls: list[int]
) -> None:
    ours, theirs = tenants()
    prepared(program_id, raw, ours)
    assert len(twirls) == times
    alone = ours.memory.hits
    prepared(program_id, raw, ours)
    assert len(twirls) == times
    assert ours.memory.hits > 2 * alone
    prepared(program_id, raw, theirs)
    assert len(twirls) == 2 * times
    assert theirs.memory.hits == alone


def test_what_was_kept_for_another_calibration_or_other_options_is_made_anew(twirls: list[int]) -> None:
    ours, _ = tenants()
    idling = bell()
    idling.x(2)
    idling.barrier()
    idling.cx(1, 0)
    idling.cx(1, 0)
    idling.barrier()
    idling.x(2)
    raw = sampler_params({**TWIRLED, **DECOUPLED}, idling)
    first = prepared("sampler", raw, ours).unit.items[0].circuit
    slower = copy.deepcopy(ours.device.properties)
    assert slower is not None
    for gate in slower["gates"]:
        if gate["gate"] == "cx":
            gate["parameters"] = [
                {**p, "value": 2 * p["value"]} if p["name"] == "gate_length" else p
                for p in gate["parameters"]
            ]
    changed = replace(ours, device=replace(ours.device, properties=slower, calibration_id="later"))
    delays = [
        [i.operation.params[0] for i in circuit.data if i.name == "delay"]
        for circuit in (first, prepared("sampler", raw, changed).unit.items[0].circuit)
    ]
    assert delays[0] != delays[1]
    prepared("sampler", sampler_params({"twirling": {"enable_gates": True}}, idling), ours)
    assert len(twirls) == 2


def test_each_job_draws_afresh_and_a_seed_gives_the_same_whether_kept_or_not() -> None:
    ours, theirs = tenants()
    values = [
        prepared("estimator", estimator_params(2, {}), ours).unit.items[0].parameter_values for _ in range(2)
    ]
    assert not np.array_equal(*values)
    seeded = estimator_params(2, {"seed_estimator": 11})
    units = [unit_bytes(prepared("estimator", seeded, where).unit) for where in (ours, ours, theirs)]
    kept, again, other = ([*unit_values(unit)] for unit in units)
    assert all(np.array_equal(a, b) for a, b in zip(kept, again, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(kept, other, strict=True))


def unit_values(raw: bytes) -> list[np.ndarray[Any, Any]]:
    from ketline.units.serial import unit_from_bytes

    return [item.parameter_values for item in unit_from_bytes(raw).items]


def test_gates_that_are_folded_at_random_are_chosen_anew_in_each_job() -> None:
    ours, _ = tenants()
    circuit = QuantumCircuit(5)
    for _ in range(12):
        circuit.cx(0, 1)
        circuit.barrier()
        circuit.cx(1, 2)
    tree = {
        "pubs": [[circuit, "IIIIZ", None, 0.2]],
        "resilience_level": 0,
        "options": {"resilience": {"zne_mitigation": True, "zne": {"noise_factors": [1, 1.5, 2]}}},
    }
    raw = json.dumps(tree, cls=RuntimeEncoder).encode()
    first, second = (prepared("estimator", raw, ours).unit.items[1].circuit for _ in range(2))
    assert first.count_ops() == second.count_ops()
    assert [i.qubits for i in first.data] != [i.qubits for i in second.data]


def test_results_don_t_depend_on_what_was_kept() -> None:
    ours, _ = tenants()

    def values(program_id: str, raw: bytes) -> Any:
        return lab.decoded(lab.work(program_id, raw, ours))

    _, raw = lab.posted(EstimatorV2, lambda e: e.run([(bell(measured=False), ["IIIZZ"])], precision=0.05))
    for _ in range(2):
        result = values("estimator", raw)
        assert result[0].data.evs == pytest.approx([np.cos(0)], abs=0.3)
    _, raw = lab.posted(SamplerV2, lambda s: s.run([bell()], shots=500))
    counts = [values("sampler", raw)[0].data.c.get_counts() for _ in range(2)]
    assert all(set(found) <= {"00", "11"} for found in counts)


def test_a_payload_too_large_to_unpack_is_refused_when_its_circuit_is_known_too() -> None:
    from ketline.units.errors import JobError

    ours, _ = tenants()
    big = bell()
    for _ in range(2000):
        big.rz(0.1, 0)
    one = json.loads(sampler_params({}, big))
    prepared("sampler", json.dumps(one).encode(), ours)
    one["pubs"] *= 30
    tight = replace(ours, limits=replace(ours.limits, max_decompressed_bytes=1_000_000))
    with pytest.raises(JobError, match="unpacked"):
        prepared("sampler", json.dumps(one).encode(), tight)


def test_a_memory_is_bounded_and_forgets_the_least_recently_used_first() -> None:
    memory = Memory(max_bytes=100)
    made: list[str] = []

    def get(key: str, size: int = 20) -> str:
        return memory.get(key, lambda: made.append(key) or key, lambda _: size)

    for key in "abcde":
        memory.begin()
        get(key)
    memory.begin()
    get("a")
    get("f")
    assert memory.used_bytes <= 100
    get("a")
    assert made == list("abcdef")
    get("b")
    assert made == list("abcdefb")
    get("huge", 90)
    get("huge", 90)
    assert made[-2:] == ["huge", "huge"]
    assert memory.get(None, lambda: "never kept", lambda _: 1) == "never kept"


def test_a_job_too_large_for_the_memory_finds_its_first_circuits_again() -> None:
    memory = Memory(max_bytes=100)
    made: list[int] = []
    for _ in range(3):
        memory.begin()
        for key in range(8):
            memory.get(key, partial(made.append, key), lambda _: 20)
    assert made == [*range(8), *range(2, 8), *range(4, 8)]
    assert memory.used_bytes == 100


def test_failures_aren_t_kept() -> None:
    memory = Memory()
    with pytest.raises(ZeroDivisionError):
        memory.get("k", lambda: 1 // 0, lambda _: 1)
    assert memory.get("k", lambda: 2, lambda _: 1) == 2


def test_many_tenants_are_bounded_and_one_can_t_drive_out_what_another_keeps() -> None:
    memories = Recurring(max_tenants=3, max_bytes=1000)
    mine = memories.of("mine")
    mine.get("k", lambda: 1, lambda _: 100)
    loud = memories.of("loud")
    for number in range(1000):
        loud.get(number, lambda: 0, lambda _: 100)
    assert memories.of("mine") is mine
    assert mine.get("k", lambda: 2, lambda _: 100) == 1
    for number in range(3):
        memories.of(f"t{number}")
    assert memories.of("mine") is not mine
    assert memories.of(None) is not memories.of(None)


def test_kept_circuits_take_about_as_much_memory_as_is_counted() -> None:
    ours = lab.context(memory=Memory())
    raws = [sampler_params(TWIRLED, bell(angle=0.001 * n)) for n in range(40)]
    prepared("sampler", raws[0], ours)
    tracemalloc.start()
    before, counted = tracemalloc.get_traced_memory()[0], ours.memory.used_bytes
    for raw in raws[1:]:
        prepared("sampler", raw, ours)
    grown, counted = tracemalloc.get_traced_memory()[0] - before, ours.memory.used_bytes - counted
    tracemalloc.stop()
    assert counted > 0
    assert grown < 2 * counted
    assert circuit_bytes(bell()) > 0
