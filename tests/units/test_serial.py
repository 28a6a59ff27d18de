"""Work units and outcomes survive being written down, and nothing else is taken for one."""

from datetime import UTC, datetime

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from samplomatic import Twirl

from ketline.units.serial import (
    FormatError,
    outcome_bytes,
    outcome_from_bytes,
    read_unit,
    unit_bytes,
    unit_from_bytes,
    write_unit,
)
from ketline.units.work import ItemOutcome, Outcome, Span, WorkItem, WorkUnit


def sweep() -> QuantumCircuit:
    circuit = QuantumCircuit(3, 2)
    circuit.rx(Parameter("b") + 1, 0)
    circuit.rx(Parameter("a"), 1)
    circuit.measure([0, 1], [0, 1])
    circuit.metadata = {"anything": object()}
    return circuit


def test_a_unit_comes_back_as_it_was(tmp_path):
    values = np.arange(10.0).reshape(5, 2)
    unit = WorkUnit(
        [WorkItem(sweep(), values, 100, chunk_sets=2), WorkItem(QuantumCircuit(1), np.zeros((1, 0)), 7)],
        meas_level="both", init_qubits=False, rep_delay_seconds=1e-4, seed=5, noise=False, idle_noise=True,
        scheduler_timing=True, stretch_values=True, simulator={"seed_simulator": 3},
        allow_approximation=False,
    )  # fmt: skip
    write_unit(tmp_path / "unit", unit)
    back = read_unit(tmp_path / "unit")
    assert [item.circuit for item in back.items] == [item.circuit for item in unit.items]
    assert np.array_equal(back.items[0].parameter_values, values)
    assert (back.items[0].shots, back.items[0].chunk_sets, back.items[1].chunk_sets) == (100, 2, None)
    facts = [name for name in WorkUnit.__dataclass_fields__ if name != "items"]
    assert {n: getattr(back, n) for n in facts} == {n: getattr(unit, n) for n in facts}
    assert [path.name for path in tmp_path.iterdir()] == ["unit"]


def test_boxes_keep_their_annotations():
    circuit = QuantumCircuit(2)
    with circuit.box([Twirl()]):
        circuit.cz(0, 1)
    back = unit_from_bytes(unit_bytes(WorkUnit([WorkItem(circuit, np.zeros((1, 0)), 1)])))
    assert back.items[0].circuit.data[0].operation.annotations == [Twirl()]


def test_an_outcome_comes_back_as_it_was():
    bits = np.arange(12, dtype=np.uint8).reshape(2, 3, 2)
    iq = np.arange(6).reshape(2, 3) * (1 + 2j)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    outcome = Outcome(
        [
            ItemOutcome({"c": bits}, {"c": iq}, 1e-6, "main", [{"name": "s", "value": 3}]),
            ItemOutcome({"empty": np.zeros((1, 5, 0), np.uint8)}),
        ],
        [Span(0, 0, 2, at, at)],
        ["twirled"],
    )
    back = outcome_from_bytes(outcome_bytes(outcome))
    assert np.array_equal(back.items[0].bits["c"], bits)
    assert np.array_equal(back.items[0].iq["c"], iq)
    assert back.items[0].timing == "main"
    assert back.items[0].circuit_duration_seconds == 1e-6
    assert back.items[0].stretch_values == [{"name": "s", "value": 3}]
    assert back.items[1].bits["empty"].shape == (1, 5, 0)
    assert back.spans == outcome.spans
    assert back.approximations == ["twirled"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: b"XXXX" + data[4:],
        lambda data: data[:-8],
        lambda data: data + bytes(8),
        lambda data: data[:4] + (2**60).to_bytes(8, "little") + data[12:],
        lambda data: data[:20] + b"\xff" + data[21:],
        lambda data: data.replace(b'"f8"', b'"O8"'),
    ],
    ids=["empty", "magic", "short", "long", "length", "header", "kind"],
)
def test_a_spoiled_file_is_refused(spoil):
    data = unit_bytes(WorkUnit([WorkItem(sweep(), np.zeros((1, 2)), 1)]))
    with pytest.raises(FormatError):
        unit_from_bytes(spoil(data))


def test_an_outcome_is_no_unit():
    with pytest.raises(FormatError, match="'outcome', not 'unit'"):
        unit_from_bytes(outcome_bytes(Outcome([], [])))


def test_objects_have_no_place_in_a_unit():
    with pytest.raises(FormatError, match="float32"):
        outcome_bytes(Outcome([ItemOutcome({"c": np.zeros(3, np.float32)})], []))
