import numpy as np
import pytest
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.quantum_info import Operator
from qiskit_ibm_runtime.fake_provider import FakeFez

from ketline.programs.mitigation.decoupling import Decoupling, decouple
from ketline.programs.mitigation.twirling import twirl
from ketline.units.errors import JobError

TARGET = FakeFez().target
SEQUENCES = ["XX", "XpXm", "XY4"]


def _idling(pairs: int = 20) -> QuantumCircuit:
    """Qubit 0 stands on the equator while its neighbours are busy, then is turned back."""
    circuit = QuantumCircuit(156, 3)
    circuit.sx(0)
    circuit.sx(1)
    circuit.barrier([0, 1, 2])
    for _ in range(2 * pairs):
        circuit.cz(1, 2)
    circuit.barrier([0, 1, 2])
    circuit.sx(0)
    circuit.sx(1)
    circuit.measure([0, 1, 2], [0, 1, 2])
    return circuit


def _survival(circuit: QuantumCircuit, detuning: float, qubit: int = 0) -> float:
    """Probability of 1 on one qubit whose frequency is off by ``detuning`` (rad per dt), by hand."""
    gates = get_standard_gate_name_mapping()
    state = np.array([1.0, 0.0], complex)
    for instruction in circuit.data:
        operation = instruction.operation
        if circuit.find_bit(instruction.qubits[0]).index != qubit or len(instruction.qubits) > 1:
            continue
        if operation.name == "measure":
            break
        if operation.name == "delay":
            phase = detuning * operation.duration
            state = state * np.exp([-0.5j * phase, 0.5j * phase])
        else:
            matrix = gates[operation.name].base_class(*operation.params).to_matrix()
            state = matrix @ state
            phase = detuning * round(TARGET[operation.name][(qubit,)].duration / TARGET.dt)
            state = state * np.exp([-0.5j * phase, 0.5j * phase])
    return float(abs(state[1]) ** 2)


def _averaged(circuit: QuantumCircuit, sigma: float) -> float:
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    survivals = np.array([_survival(circuit, sigma * node) for node in nodes])
    return float(survivals @ weights / weights.sum())


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("slack", ["middle", "edges"])
def test_a_qubit_keeps_its_phase_under_slow_noise(sequence, slack):
    circuit = _idling()
    duration = 40 * round(TARGET["cz"][(1, 2)].duration / TARGET.dt)
    sigma = 1.0 / duration
    scheduled = decouple(circuit, TARGET, Decoupling(sequence, slack))
    bare = QuantumCircuit(156)
    bare.sx(0)
    bare.delay(duration, 0)
    bare.sx(0)
    # Free precession for T under detuning of width 1/T: <X> = exp(-1/2).
    assert _averaged(bare, sigma) == pytest.approx((1 + np.exp(-0.5)) / 2, abs=0.01)
    assert _averaged(scheduled, sigma) > 0.995


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("method", ["alap", "asap"])
def test_a_decoupled_circuit_does_the_same(sequence, method):
    circuit = _idling(3)
    scheduled = decouple(circuit, TARGET, Decoupling(sequence, scheduling_method=method))
    assert scheduled.num_qubits == 156
    used = {scheduled.find_bit(q).index for i in scheduled.data for q in i.qubits}
    assert used == {0, 1, 2}
    assert scheduled.count_ops()["x"] == {"XX": 2, "XpXm": 2, "XY4": 4}[sequence]

    def unitary(which):
        small = QuantumCircuit(3)
        for instruction in which.data:
            if instruction.operation.name not in ("delay", "measure", "barrier"):
                small.append(instruction.operation, [which.find_bit(q).index for q in instruction.qubits])
        return Operator(small)

    assert unitary(scheduled).equiv(unitary(circuit))


def test_the_schedule_follows_the_method_and_the_slack():
    early = QuantumCircuit(3, 1)
    early.sx(0)
    for _ in range(10):
        early.cz(1, 2)
    early.barrier([0, 1, 2])
    early.measure(0, 0)

    def first(method):
        scheduled = decouple(early, TARGET, Decoupling("XX", "middle", method, True))
        return next(i.operation.name for i in scheduled.data if scheduled.find_bit(i.qubits[0]).index == 0)

    assert first("asap") == "sx"
    assert first("alap") == "delay"

    def delays(slack):
        scheduled = decouple(_idling(5), TARGET, Decoupling("XY4", slack))
        return [i.operation.duration for i in scheduled.data if i.operation.name == "delay"]

    middle, edges = delays("middle"), delays("edges")
    assert sum(middle) == sum(edges)
    assert middle != edges
    assert middle[1] + middle[-2] < edges[1] + edges[-2]


def test_qubits_still_in_their_ground_state_are_left_alone_if_asked_to():
    circuit = QuantumCircuit(3, 3)
    for _ in range(20):
        circuit.cz(1, 2)
    circuit.barrier([0, 1, 2])
    circuit.sx(0)
    circuit.measure([0, 1, 2], [0, 1, 2])
    asap = [
        decouple(circuit, TARGET, Decoupling("XX", scheduling_method="asap", skip_reset_qubits=skip))
        for skip in (False, True)
    ]
    assert asap[0].count_ops().get("x", 0) >= asap[1].count_ops().get("x", 0) == 0


def test_templates_with_parameters_are_decoupled():
    circuit = QuantumCircuit(156, 3)
    circuit.rz(Parameter("a"), 0)
    circuit.sx(0)
    for _ in range(8):
        circuit.cz(1, 2)
    circuit.measure([0, 1, 2], [0, 1, 2])
    template = twirl(circuit, gates=True, measures=True)
    scheduled = decouple(template.circuit, TARGET, Decoupling("XY4"))
    assert [p.name for p in scheduled.parameters] == [p.name for p in template.circuit.parameters]
    assert scheduled.count_ops()["x"] >= 4


def test_what_cannot_be_scheduled_is_refused():
    from qiskit.transpiler import Target

    circuit = QuantumCircuit(3, 1)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    with pytest.raises(JobError, match="control flow"):
        decouple(circuit, TARGET, Decoupling())
    with pytest.raises(JobError, match="how long"):
        decouple(QuantumCircuit(1), Target(num_qubits=1), Decoupling())
