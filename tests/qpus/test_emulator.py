"""What comes out of the emulator is what theory, or an independent simulation, says."""

from itertools import pairwise

import numpy as np
import pytest
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import ClassicalRegister, Parameter, QuantumRegister
from qiskit.circuit.classical import expr
from qiskit.quantum_info import Statevector
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel
from qiskit_ibm_runtime.fake_provider import FakeGuadalupeV2, FakeManilaV2
from qpu_lab import device, emulator, fits, histogram, item, numbers, run, same, settings

from ketline.qpus import items
from ketline.qpus.driver import driver_type
from ketline.qpus.emulator import Emulator
from ketline.units.errors import JobError
from ketline.units.work import WorkUnit


def ghz(width: int, name: str, first: int = 0) -> QuantumCircuit:
    """A GHZ state on neighbouring qubits in the device's own gates, padded with delays."""
    circuit = QuantumCircuit(device(name).num_qubits, width)
    line = list(range(first, first + width))
    circuit.h(line[0])
    for a, b in pairwise(line):
        circuit.cx(a, b)
        circuit.delay(2000, a)
    circuit.measure(line, range(width))
    return transpile(circuit, target=device(name).target, optimization_level=0, initial_layout=None)


@pytest.mark.parametrize(("name", "client"), [("manila", FakeManilaV2), ("guadalupe", FakeGuadalupeV2)])
def test_it_gives_the_distribution_of_the_whole_device(name, client):
    """The reference simulates every qubit of the device with the noise of every gate."""
    if name == "manila":
        circuit, width = ghz(5, name), 5
        shots = 40_000
    else:
        # Four of 16 qubits are touched.
        circuit, width = ghz(4, name), 4
        shots = 20_000
    outcome = run(WorkUnit([item(circuit, shots)]), emulator(name))
    backend = AerSimulator(noise_model=NoiseModel.from_backend(client()), method="density_matrix")
    backend.set_max_qubits(200)
    counts = backend.run(circuit, shots=shots, seed_simulator=5).result().get_counts()
    theirs = np.zeros(2**width, dtype=np.int64)
    for key, count in counts.items():
        theirs[int(key, 2)] += count
    assert same(histogram(numbers(outcome.items[0], "c", width), width), theirs)


@pytest.mark.parametrize("method", ["density_matrix", "statevector", "matrix_product_state"])
def test_all_methods_agree(method, monkeypatch):
    """Transfer matrices against Aer's methods, parameter sets and all."""
    import ketline.qpus.items as items
    import ketline.qpus.methods as methods

    circuit = ghz(4, "manila")
    reference = run(WorkUnit([item(circuit, 6_000)]))
    monkeypatch.setattr(items, "FEW_QUBITS", 0)
    every = methods.candidates
    monkeypatch.setattr(
        methods, "candidates", lambda *given: [found for found in every(*given) if found.name == method]
    )
    outcome = run(WorkUnit([item(circuit, 6_000)]))
    assert same(
        histogram(numbers(outcome.items[0], "c", 4), 4), histogram(numbers(reference.items[0], "c", 4), 4)
    )


def test_without_noise_it_gives_born_probabilities():
    rng = np.random.default_rng(3)
    circuit = QuantumCircuit(5, 5)
    for _ in range(3):
        for qubit in range(5):
            circuit.rz(rng.uniform(0, 6), qubit)
            circuit.sx(qubit)
        for qubit in range(4):
            circuit.cx(qubit, qubit + 1)
    expected = Statevector(circuit).probabilities()
    circuit.measure(range(5), range(5))
    outcome = run(WorkUnit([item(circuit, 50_000)], noise=False))
    assert fits(histogram(numbers(outcome.items[0], "c", 5), 5), expected)


def test_a_sweep_binds_every_set_and_every_expression():
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(5, 3)
    circuit.rx(b, 0)
    circuit.rx(a + 2 * b + 0.1, 1)
    circuit.rx(a * b, 2)
    circuit.measure([0, 1, 2], [0, 1, 2])
    values = np.random.default_rng(2).uniform(0, 3, (40, 2))
    outcome = run(WorkUnit([item(circuit, 4000, values)], noise=False))
    found = numbers(outcome.items[0], "c", 3)
    for row, (va, vb) in zip(found, values, strict=True):
        ones = [np.sin(angle / 2) ** 2 for angle in (vb, va + 2 * vb + 0.1, va * vb)]
        expected = np.ones(8)
        for index in range(8):
            for qubit in range(3):
                expected[index] *= ones[qubit] if index >> qubit & 1 else 1 - ones[qubit]
        assert fits(histogram(row, 3), expected)


def test_sets_without_parameters_and_chunks():
    circuit = QuantumCircuit(5, 1)
    circuit.sx(0)
    circuit.measure(0, 0)
    outcome = run(WorkUnit([item(circuit, 300, np.zeros((10, 0)), chunk_sets=4)], noise=False))
    assert outcome.items[0].bits["c"].shape == (10, 300, 1)
    assert [(span.first_set, span.last_set) for span in outcome.spans] == [(0, 4), (4, 8), (8, 10)]
    assert all(span.start <= span.stop for span in outcome.spans)
    assert fits(histogram(numbers(outcome.items[0], "c", 1), 1), np.asarray([0.5, 0.5]))
    assert all(100 < row.sum() < 200 for row in numbers(outcome.items[0], "c", 1))


def test_registers_stand_apart_and_keep_their_order():
    qubits = QuantumRegister(5)
    first, second = ClassicalRegister(9, "first"), ClassicalRegister(2, "second")
    circuit = QuantumCircuit(qubits, first, second)
    circuit.x(2)
    circuit.measure(2, first[8])
    circuit.measure(2, second[1])
    circuit.measure(0, second[0])
    outcome = run(WorkUnit([item(circuit, 5)], noise=False)).items[0]
    assert outcome.bits["first"].tolist() == [[[1, 0]] * 5]
    assert outcome.bits["second"].tolist() == [[[2]] * 5]


def test_no_registers_and_no_measurements():
    circuit = QuantumCircuit(5)
    circuit.x(0)
    bare = QuantumCircuit(5, 3)
    outcome = run(WorkUnit([item(circuit, 10), item(bare, 10)]))
    assert outcome.items[0].bits == {}
    assert outcome.items[1].bits["c"].tolist() == [[[0]] * 10]
    assert len(outcome.spans) == 2


def test_dynamic_circuits_do_what_they_read():
    circuit = QuantumCircuit(5, 3)
    circuit.sx(0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)) as otherwise:
        circuit.x(3)
    with otherwise:
        circuit.x(4)
    circuit.reset(0)
    circuit.measure([3, 4], [1, 2])
    found = histogram(numbers(run(WorkUnit([item(circuit, 4000)], noise=False)).items[0], "c", 3), 3)
    assert fits(found, np.asarray([0, 0, 0, 0.5, 0.5, 0, 0, 0]))


def test_loops_switches_and_expressions():
    register = ClassicalRegister(2, "c")
    done = ClassicalRegister(1, "done")
    circuit = QuantumCircuit(QuantumRegister(5), register, done)
    with circuit.for_loop(range(3)):
        circuit.x(0)
    circuit.measure(0, register[0])
    with circuit.switch(register) as case:
        with case(1):
            circuit.x(1)
        with case(case.DEFAULT):
            circuit.x(2)
    circuit.measure(1, register[1])
    with circuit.while_loop(expr.bit_and(register[0], register[1])):
        circuit.x(1)
        circuit.measure(1, register[1])
    with circuit.if_test(expr.equal(register, 1)):
        circuit.x(3)
    circuit.measure(3, done[0])
    outcome = run(WorkUnit([item(circuit, 50)], noise=False)).items[0]
    assert set(outcome.bits["c"].ravel()) == {1}
    assert set(outcome.bits["done"].ravel()) == {1}


def test_dynamic_circuits_with_noise_agree_with_the_whole_device():
    circuit = QuantumCircuit(5, 2)
    circuit.sx(1)
    circuit.measure(1, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(2)
        circuit.cx(2, 3)
    circuit.measure(3, 1)
    outcome = run(WorkUnit([item(circuit, 8000)]))
    backend = AerSimulator(noise_model=NoiseModel.from_backend(FakeManilaV2()))
    counts = backend.run(circuit, shots=8000, seed_simulator=4).result().get_counts()
    theirs = np.asarray([counts.get(f"{value:02b}", 0) for value in range(4)])
    assert same(histogram(numbers(outcome.items[0], "c", 2), 2), theirs)


def test_fractional_gates_run_with_their_noise():
    circuit = QuantumCircuit(156, 2)
    circuit.rx(np.pi / 2, 10)
    circuit.rx(np.pi / 2, 11)
    for angle in (0.7, *(0.3, -0.3) * 20):
        circuit.rzz(angle, 10, 11)
    circuit.rx(np.pi / 2, 10)
    circuit.measure([10, 11], [0, 1])
    ideal = circuit.remove_final_measurements(inplace=False)
    small = QuantumCircuit(2)
    for instruction in ideal.data:
        if instruction.operation.name != "barrier":
            small.append(instruction.operation, [ideal.find_bit(q).index - 10 for q in instruction.qubits])
    noiseless = run(WorkUnit([item(circuit, 20_000)], noise=False), emulator("fez"))
    noisy = run(WorkUnit([item(circuit, 20_000)]), emulator("fez"))
    expected = Statevector(small).probabilities()
    assert fits(histogram(numbers(noiseless.items[0], "c", 2), 2), expected)
    assert not fits(histogram(numbers(noisy.items[0], "c", 2), 2), expected)


def test_the_same_seed_gives_the_same_shots():
    circuit = ghz(4, "manila")
    unit = WorkUnit([item(circuit, 700)], seed=3)
    by_option = WorkUnit([item(circuit, 700)], simulator={"seed_simulator": 3})
    first, second, third = (run(unit).items[0].bits["c"] for _ in range(3))
    assert np.array_equal(first, second)
    assert np.array_equal(second, third)
    assert np.array_equal(first, run(by_option).items[0].bits["c"])
    assert not np.array_equal(first, run(WorkUnit([item(circuit, 700)], seed=4)).items[0].bits["c"])
    fresh = [run(WorkUnit([item(circuit, 700)])).items[0].bits["c"] for _ in range(2)]
    assert not np.array_equal(*fresh)


def test_a_seeded_qpu_repeats_its_jobs_in_order():
    circuit = ghz(3, "manila")
    runs = []
    for _ in range(2):
        qpu = Emulator(device("manila"), settings("manila", seed=99))
        runs.append([run(WorkUnit([item(circuit, 500)]), qpu).items[0].bits["c"] for _ in range(2)])
    assert np.array_equal(runs[0][0], runs[1][0])
    assert np.array_equal(runs[0][1], runs[1][1])
    assert not np.array_equal(runs[0][0], runs[0][1])


def test_sets_of_a_sweep_draw_independently():
    angle = Parameter("angle")
    circuit = QuantumCircuit(5, 1)
    circuit.rx(angle, 0)
    circuit.measure(0, 0)
    outcome = run(WorkUnit([item(circuit, 200, np.full((20, 1), np.pi / 2))]))
    rows = {row.tobytes() for row in outcome.items[0].bits["c"]}
    sums = numbers(outcome.items[0], "c", 1).sum(axis=1)
    assert len(rows) == 20
    assert len(set(sums.tolist())) > 5


def test_many_shots_come_in_pieces_and_all_arrive():
    circuit = QuantumCircuit(5, 5)
    circuit.sx(range(5))
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    circuit.measure(range(1, 5), range(1, 5))
    qpu = emulator()
    handle = qpu.start(WorkUnit([item(circuit, 30_000)], noise=False))
    seen = []
    while (progress := qpu.poll(handle)).state != "done":
        seen.append(progress.done)
    assert len(seen) > 2
    assert seen == sorted(seen)
    assert progress.done == progress.total == 30_000
    found = numbers(qpu.outcome(handle).items[0], "c", 5)
    assert fits(histogram(found >> 2, 3), np.full(8, 1 / 8))


def test_a_given_noise_model_replaces_the_devices():
    flips = NoiseModel()
    from qiskit_aer.noise import pauli_error

    flips.add_quantum_error(pauli_error([("X", 1.0)]), "sx", [2])
    circuit = QuantumCircuit(5, 2)
    for qubit in (2, 3):
        circuit.sx(qubit)
        circuit.sx(qubit)
        circuit.x(qubit)
    circuit.sx(2)
    circuit.sx(2)
    circuit.measure([2, 3], [0, 1])
    unit = WorkUnit([item(circuit, 100)], simulator={"noise_model": flips.to_dict(serializable=True)})
    assert set(numbers(run(unit).items[0], "c", 2).ravel()) == {1}
    again = WorkUnit(
        [item(circuit, 100)], simulator={"noise_model": flips.to_dict(serializable=True)}, noise=False
    )
    assert set(numbers(run(again).items[0], "c", 2).ravel()) == {1}


@pytest.mark.parametrize(
    ("simulator", "says"),
    [
        ({"max_memory": 3}, r"simulator\.max_memory"),
        ({"basis_gates": ["rz", "cx"]}, "uses sx, which isn't in simulator.basis_gates"),
        ({"coupling_map": [[0, 1]]}, r"cx on qubits \(1, 2\)"),
    ],
)
def test_simulator_options_are_kept_or_refused(simulator, says):
    circuit = QuantumCircuit(5, 2)
    circuit.sx(1)
    circuit.cx(1, 2)
    circuit.measure([1, 2], [0, 1])
    fine = {"basis_gates": ["sx", "cx"], "coupling_map": [[1, 2]], "seed_simulator": 1}
    assert run(WorkUnit([item(circuit, 10)], simulator=fine)).items[0].bits["c"].shape == (1, 10, 1)
    with pytest.raises(JobError, match=says):
        run(WorkUnit([item(circuit, 10)], simulator=simulator))


def test_what_makes_no_sense_is_refused():
    circuit = QuantumCircuit(6, 1)
    with pytest.raises(JobError, match="6 qubits, ket_manila has 5"):
        run(WorkUnit([item(circuit)]))
    with pytest.raises(JobError, match=r"0 parameters, its values have shape \(1, 3\)"):
        run(WorkUnit([item(QuantumCircuit(1), 10, np.zeros((1, 3)))]))
    with pytest.raises(JobError, match="asks for 0 shots"):
        run(WorkUnit([item(QuantumCircuit(1), 0)]))


def test_what_cant_be_simulated_fails_before_it_runs():
    rng = np.random.default_rng(1)
    circuit = QuantumCircuit(156, 60)
    for _ in range(60):
        for qubit in range(60):
            circuit.rx(rng.uniform(), qubit)
        for a, b in device("fez").configuration["coupling_map"]:
            if a < b < 60:
                circuit.cz(a, b)
    circuit.measure(range(60), range(60))
    unit = WorkUnit([item(circuit)])
    with pytest.raises(JobError, match=r"60 qubits.*needs about .*B; the limit is 8 GB"):
        Emulator.admit(unit, device("fez"), settings("fez"))
    with pytest.raises(JobError, match="the limit is"):
        run(unit, emulator("fez"))


def test_what_takes_too_long_fails_before_it_runs():
    circuit = QuantumCircuit(156, 24)
    rng = np.random.default_rng(1)
    for _ in range(40):
        for qubit in range(24):
            circuit.rx(rng.uniform(), qubit)
        for a, b in device("fez").configuration["coupling_map"]:
            if a < b < 24:
                circuit.cz(a, b)
    circuit.measure(range(24), range(24))
    with pytest.raises(JobError, match=r"would take about .* s; the limit is 10800 s"):
        Emulator.admit(WorkUnit([item(circuit, 100_000)]), device("fez"), settings("fez"))


def test_admission_tells_method_memory_and_time():
    unit = WorkUnit([item(ghz(4, "manila"), 1000)])
    found = Emulator.admit(unit, device("manila"), settings("manila"))
    assert found.methods == ("transfer",)
    assert 0 < found.qpu_seconds < 1
    assert found.memory_bytes > 0
    paced = Emulator.admit(unit, device("manila"), settings("manila", pace=0.5))
    assert paced.qpu_seconds == pytest.approx(0.5 * paced.device_seconds)
    # modes.md 8.2: 2 s and 1,000 shots of reset, circuit and 250 us.
    assert 2.25 < found.device_seconds < 2.40


def test_an_ideal_simulator_has_no_noise():
    from ketline.config import QpuSettings

    wanted = QpuSettings(name="ket_simulator", device="fez", simulator=True)
    qpu = Emulator(Emulator.device(wanted), wanted)
    circuit = QuantumCircuit(156, 40)
    circuit.h(0)
    for qubit in range(39):
        circuit.cx(qubit, qubit + 1)
    circuit.measure(range(40), range(40))
    found = set(numbers(run(WorkUnit([item(circuit, 500)]), qpu).items[0], "c", 40).ravel().tolist())
    assert found == {0, 2**40 - 1}


def test_a_given_up_unit_is_forgotten():
    qpu = emulator()
    handle = qpu.start(WorkUnit([item(ghz(4, "manila"), 100)]))
    qpu.stop(handle)
    with pytest.raises(KeyError):
        qpu.poll(handle)
    qpu.stop(handle)


def test_the_emulator_is_found_by_its_name():
    from ketline.qpus.driver import DriverError

    assert driver_type("emulator") is Emulator
    with pytest.raises(DriverError, match=r"'warp'; installed are .*emulator"):
        driver_type("warp")


def test_chunks_that_are_asked_for_run_one_after_the_other():
    """Six sets in chunks of four, on components of two methods: each chunk has a time of its own."""
    angle = Parameter("angle")
    circuit = QuantumCircuit(16, 8)
    circuit.rx(angle, [0, 1, 2, 3, 5, 8, 10, 15])
    for a, b in ((0, 1), (1, 2), (2, 3), (3, 5), (5, 8)):
        circuit.cx(a, b)
    circuit.measure([0, 1, 2, 3, 5, 8, 10, 15], range(8))
    unit = WorkUnit([item(circuit, 50, np.linspace(0, 3, 6)[:, None], chunk_sets=4)])
    assert "+" in Emulator.admit(unit, device("guadalupe"), settings("guadalupe")).methods[0]
    first, second = run(unit, emulator("guadalupe")).spans
    assert [(span.first_set, span.last_set) for span in (first, second)] == [(0, 4), (4, 6)]
    assert first.start < first.stop <= second.start < second.stop


def test_large_units_are_made_ready_a_part_at_a_time(monkeypatch):
    """Nothing is lost or mixed up between the parts."""
    monkeypatch.setattr(items, "_BATCH_INSTRUCTIONS", 1)
    circuits = [QuantumCircuit(2, size) for size in (2, 2, 0, 2)]
    circuits[0].x(0)
    circuits[0].measure(0, 1)
    circuits[2].x(0)
    circuits[3].measure(0, 0)
    circuits[1].x([0, 1])
    circuits[1].measure([0, 1], [0, 1])
    unit = WorkUnit([item(circuit, 20 + n) for n, circuit in enumerate(circuits)], noise=False)
    assert len(Emulator.admit(unit, device("manila"), settings()).methods) == 4
    outcome = run(unit)
    assert [sorted({int(v) for v in numbers(outcome.items[n], "c", 2).ravel()}) for n in (0, 1, 3)] == [
        [2], [3], [0],
    ]  # fmt: skip
    assert [outcome.items[n].bits["c"].shape[1] for n in (0, 1, 3)] == [20, 21, 23]
    assert [span.item for span in outcome.spans] == [0, 1, 2, 3]
