"""Kerneled measurement, dry runs, timing and pace."""

import time
import zlib

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qpu_lab import device, emulator, fits, histogram, item, numbers, run, settings
from scipy.stats import binomtest

from ketline.qpus.counts import pack, parse, unpack
from ketline.qpus.emulator import Emulator
from ketline.qpus.iq import frame
from ketline.qpus.schedule import Durations, schedule
from ketline.units.work import WorkUnit


def prepared(state: int) -> QuantumCircuit:
    circuit = QuantumCircuit(5, 1)
    if state:
        circuit.x(0)
    circuit.measure(0, 0)
    return circuit


def test_points_are_classified_with_the_readout_error():
    shots = 40_000
    outcome = run(WorkUnit([item(prepared(0), shots), item(prepared(1), shots)], meas_level="both"))
    zero, one = (result.iq["c"][0, :, 0] for result in outcome.items)
    error = device("manila").target["measure"][0,].error
    middle, axis = (zero.mean() + one.mean()) / 2, one.mean() - zero.mean()
    side = ((zero - middle) * axis.conjugate()).real > 0
    assert binomtest(int(side.sum()), shots, error).pvalue > 5.7e-7
    bits = numbers(outcome.items[0], "c", 1)[0]
    assert (bits == side).mean() > 0.995
    assert binomtest(int(bits.sum()), shots, error).pvalue > 5.7e-7


def test_both_is_consistent_shot_by_shot():
    circuit = QuantumCircuit(5, 1)
    circuit.sx(0)
    circuit.measure(0, 0)
    outcome = run(WorkUnit([item(circuit, 2000)], meas_level="both")).items[0]
    values, bits = outcome.iq["c"][0, :, 0], unpack(outcome.bits["c"], 1)[0, :, 0]
    axis = frame(np.asarray([0]), zlib.crc32(b"ket_manila"))[0]
    along = (values / axis).real
    assert along[bits == 0].max() <= 0 < along[bits == 1].min()


def test_a_given_model_misreads_once():
    """Kerneled points under a given model: its readout error shows, and no other."""
    from qiskit_aer.noise import NoiseModel, ReadoutError

    model = NoiseModel()
    model.add_readout_error(ReadoutError([[0.8, 0.2], [0.2, 0.8]]), [0])
    options = {"noise_model": model.to_dict(serializable=True)}
    unit = WorkUnit([item(prepared(0), 20_000)], meas_level="both", simulator=options)
    ones = int(numbers(run(unit).items[0], "c", 1).sum())
    assert binomtest(ones, 20_000, 0.2).pvalue > 5.7e-7


def test_levels_have_their_shapes():
    circuit = QuantumCircuit(5, 2)
    circuit.measure([0, 1], [0, 1])
    single = run(WorkUnit([item(circuit, 50, np.zeros((3, 0)))], meas_level="kerneled")).items[0]
    assert single.iq["c"].shape == (3, 50, 2)
    assert single.bits == {}
    mean = run(WorkUnit([item(circuit, 50, np.zeros((3, 0)))], meas_level="avg_kerneled")).items[0]
    assert mean.iq["c"].shape == (3, 2)
    assert mean.bits == {}


def test_a_qubit_has_the_same_clouds_in_every_job():
    means = [
        run(WorkUnit([item(prepared(1), 5000)], meas_level="avg_kerneled")).items[0].iq["c"][0, 0]
        for _ in range(2)
    ]
    assert abs(means[0] - means[1]) < 0.1
    assert abs(means[0]) > 0.5


@pytest.mark.parametrize("level", ["classified", "kerneled", "avg_kerneled", "both"])
def test_dry_runs_have_the_right_shapes_and_random_data(level):
    circuit = QuantumCircuit(156, 70)
    circuit.x(range(70))
    circuit.measure(range(70), range(70))
    unit = WorkUnit([item(circuit, 200, np.zeros((2, 0)))], meas_level=level, mock=True)
    outcome = run(unit, emulator("fez"))
    result = outcome.items[0]
    shapes = {name: value.shape for name, value in {**result.bits, **result.iq}.items()}
    if level in ("classified", "both"):
        assert result.bits["c"].shape == (2, 200, 9)
        assert 0.45 < unpack(result.bits["c"], 70).mean() < 0.55
    assert ("c" in result.iq) == (level != "classified")
    assert shapes
    if level != "classified":
        assert result.iq["c"].shape == ((2, 70) if level == "avg_kerneled" else (2, 200, 70))
    assert result.circuit_duration_seconds > 1e-6
    assert [(span.item, span.first_set, span.last_set) for span in outcome.spans] == [(0, 0, 2)]
    admission = Emulator.admit(unit, device("fez"), settings("fez"))
    assert admission.methods == ("mock",)


def test_pace_holds_the_qpu_as_long_as_the_device_would():
    quick = Emulator(device("manila"), settings("manila", pace=0.2))
    unit = WorkUnit([item(prepared(1), 1000)], rep_delay_seconds=1e-3)
    admission = Emulator.admit(unit, device("manila"), settings("manila", pace=0.2))
    began = time.monotonic()
    outcome = run(unit, quick)
    held = time.monotonic() - began
    assert admission.qpu_seconds == pytest.approx(0.2 * admission.device_seconds)
    assert admission.qpu_seconds <= held < admission.qpu_seconds + 0.5
    assert (outcome.spans[0].stop - outcome.spans[0].start).total_seconds() < held


def test_a_held_qpu_can_be_stopped():
    slow = Emulator(device("manila"), settings("manila", pace=1000.0))
    handle = slow.start(WorkUnit([item(prepared(1), 10)]))
    began = time.monotonic()
    assert slow.poll(handle).state == "running"
    assert slow.poll(handle).state == "running"
    slow.stop(handle)
    assert time.monotonic() - began < 2


def test_a_circuit_is_scheduled_as_late_as_possible():
    fez = device("fez")
    durations = Durations(fez.target, fez.dt_seconds)
    circuit = QuantumCircuit(156, 2)
    circuit.sx(10)
    circuit.x(11)
    circuit.delay(50, 11)
    circuit.cz(10, 11)
    circuit.barrier(10, 11)
    circuit.rz(0.3, 10)
    circuit.measure(10, 0)
    plan = schedule(circuit, durations, {q: i for i, q in enumerate(circuit.qubits)})
    sx, cz, measure = (
        durations.gate("sx", (10,)),
        durations.gate("cz", (10, 11)),
        durations.gate("measure", (10,)),
    )
    assert (sx, cz, measure) == (6, 21, 390)
    assert plan.duration == 6 + 50 + 21 + 390
    assert [event.start for event in plan.events] == [50, 0, 6, 56, 77, 77, 77]


def test_branches_take_as_long_as_the_longest():
    fez = device("fez")
    durations = Durations(fez.target, fez.dt_seconds)
    circuit = QuantumCircuit(156, 1)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)) as otherwise:
        circuit.delay(100, 1)
    with otherwise:
        circuit.delay(300, 1)
    with circuit.for_loop(range(4)):
        circuit.delay(10, 1)
    plan = schedule(circuit, durations, {q: i for i, q in enumerate(circuit.qubits)})
    assert plan.duration == 390 + 300 + 40


def test_the_timing_has_the_six_columns_that_the_client_reads():
    circuit = QuantumCircuit(156, 2)
    circuit.sx(10)
    circuit.barrier(10, 11)
    circuit.cz(10, 11)
    circuit.measure(10, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(11)
    circuit.measure(11, 1)
    outcome = run(WorkUnit([item(circuit, 5)], scheduler_timing=True), emulator("fez")).items[0]
    rows = [line.split(",") for line in outcome.timing.split("\n")]
    assert {len(row) for row in rows} == {6}
    assert max(int(row[3]) + int(row[4]) for row in rows) == round(outcome.circuit_duration_seconds / 4e-9)
    assert {"Qubit 10", "Qubit 11", "AWGR10"} <= {row[2] for row in rows}
    assert {row[1].split("_")[0] for row in rows} == {"sx", "barrier", "cz", "measure", "x"}
    assert {row[0] for row in rows} == {"main", "then"}
    assert run(WorkUnit([item(circuit, 5)]), emulator("fez")).items[0].timing is None


def test_bits_are_packed_as_bit_arrays_are():
    from qiskit.primitives import BitArray

    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2, (4, 7, 19), dtype=np.uint8)
    packed = pack(bits)
    assert np.array_equal(packed, BitArray.from_bool_array(bits.astype(bool), order="little").array)
    assert np.array_equal(unpack(packed, 19), bits)
    keys = [hex(int("".join(map(str, row[::-1])), 2)) for row in bits[0]]
    assert np.array_equal(parse(keys, 19), bits[0])


def test_two_registers_may_share_bits():
    circuit = QuantumCircuit(5, 2)
    from qiskit.circuit import ClassicalRegister

    circuit.add_register(ClassicalRegister(name="turned", bits=list(reversed(circuit.clbits))))
    circuit.x(0)
    circuit.measure([0, 1], [0, 1])
    outcome = run(WorkUnit([item(circuit, 4)], noise=False)).items[0]
    assert set(outcome.bits["c"].ravel()) == {1}
    assert set(outcome.bits["turned"].ravel()) == {2}


def test_readout_errors_reach_the_bits():
    shots = 50_000
    error = device("manila").target["measure"][0,].error
    found = histogram(numbers(run(WorkUnit([item(prepared(0), shots)])).items[0], "c", 1), 1)
    assert fits(found, np.asarray([1 - error, error]))
