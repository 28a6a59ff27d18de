"""What a Qiskit backend can do, in the wire form of a device (`rest.md` F)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from qiskit.circuit import ControlFlowOp

from ketline.qpus.driver import DriverError
from ketline.units.device import Device

if TYPE_CHECKING:
    from qiskit.providers import BackendV2
    from qiskit.transpiler import Target

_ASIDE = frozenset({"measure", "reset", "delay", "barrier", "store"})
_UNRECORDED_DELAY_MICROSECONDS = 250.0


def published(backend: BackendV2, name: str, simulator: bool) -> Device:
    """A backend as a device under a name of ours.

    Args:
        backend: the backend; its target says what it can do.
        name: the QPU's name.
        simulator: whether it is served as an ideal simulator, without properties.

    Raises:
        DriverError: the backend doesn't tell its number of qubits.
    """
    target = backend.target
    if not target.num_qubits:
        raise DriverError(
            f"the backend {backend.name} doesn't tell how many qubits it has; name a function in device that "
            "makes it with a number of qubits in its target"
        )
    now = datetime.now(UTC).replace(microsecond=0).isoformat()
    configuration = _configuration(backend, target, name, simulator, now)
    properties = None if simulator else _properties(backend, target, name, now)
    return Device(name, configuration, properties)


def _gates(target: Target) -> list[str]:
    """Names of the unitary instructions that both sides know."""
    from qiskit.circuit.library import get_standard_gate_name_mapping

    known = get_standard_gate_name_mapping()
    return [name for name in sorted(target.operation_names) if name in known and name not in _ASIDE]


def _places(target: Target, name: str) -> list[tuple[int, ...]] | None:
    """Where an instruction may stand; None for everywhere."""
    places = target[name]
    if places is None or None in places:
        return None
    return sorted(places)


def _configuration(
    backend: BackendV2, target: Target, name: str, simulator: bool, now: str
) -> dict[str, Any]:
    gates = _gates(target)
    entries: list[dict[str, Any]] = []
    pairs: set[tuple[int, ...]] = set()
    for gate in gates:
        parameters = [f"p{i}" for i in range(len(target.operation_from_name(gate).params))]
        entry: dict[str, Any] = {"name": gate, "parameters": parameters, "qasm_def": ""}
        places = _places(target, gate)
        if places is not None:
            entry["coupling_map"] = [list(place) for place in places]
            pairs.update(place for place in places if len(place) == 2)
        entries.append(entry)
    control = [n for n in target.operation_names if _is_control_flow(target.operation_from_name(n))]
    others = [n for n in ("measure", "reset", "delay") if n in target.operation_names]
    return {
        "backend_name": name,
        "backend_version": str(backend.backend_version or "1"),
        "n_qubits": target.num_qubits,
        "basis_gates": gates,
        "gates": entries,
        "supported_instructions": [*gates, *dict.fromkeys([*others, "measure", "delay"]), *sorted(control)],
        "supported_features": ["qasm3", *(["dynamic_circuits"] if control else [])],
        "local": False,
        "simulator": simulator,
        "conditional": bool(control),
        "open_pulse": False,
        "memory": True,
        "max_shots": 10_000_000,
        "coupling_map": [list(pair) for pair in sorted(pairs)] or None,
        "online_date": backend.online_date.isoformat() if backend.online_date else now,
        "dt": None if target.dt is None else target.dt * 1e9,
        "default_rep_delay": _UNRECORDED_DELAY_MICROSECONDS,
        "rep_delay_range": [0.0, 1000.0],
        "description": backend.description or "",
    }


def _is_control_flow(operation: Any) -> bool:
    return isinstance(operation, type) and issubclass(operation, ControlFlowOp)


def _properties(backend: BackendV2, target: Target, name: str, now: str) -> dict[str, Any]:
    def value(what: str, number: float, unit: str = "") -> dict[str, Any]:
        return {"date": now, "name": what, "unit": unit, "value": number}

    qubits: list[list[dict[str, Any]]] = []
    measure = target.get("measure", None) or {}
    for qubit in range(target.num_qubits or 0):
        entry = target.qubit_properties[qubit] if target.qubit_properties else None
        # The client knows a qubit by its values only, so each has one at least.
        values = [value("operational", 1)]
        if entry is not None and entry.t1 is not None:
            values.append(value("T1", entry.t1 * 1e6, "us"))
        if entry is not None and entry.t2 is not None:
            values.append(value("T2", entry.t2 * 1e6, "us"))
        if entry is not None and entry.frequency is not None:
            values.append(value("frequency", entry.frequency * 1e-9, "GHz"))
        read = measure.get((qubit,))
        if read is not None and read.error is not None:
            values.append(value("readout_error", read.error))
        if read is not None and read.duration is not None:
            values.append(value("readout_length", read.duration * 1e9, "ns"))
        qubits.append(values)
    gates = []
    for gate in [*_gates(target), *(["reset"] if "reset" in target.operation_names else [])]:
        for place, entry in (target[gate] or {}).items():
            if place is None or entry is None:
                continue
            parameters = []
            if entry.error is not None:
                parameters.append(value("gate_error", entry.error))
            if entry.duration is not None:
                parameters.append(value("gate_length", entry.duration * 1e9, "ns"))
            label = f"{gate}{'_'.join(map(str, place))}"
            gates.append({"qubits": list(place), "gate": gate, "name": label, "parameters": parameters})
    return {
        "backend_name": name,
        "backend_version": str(backend.backend_version or "1"),
        "last_update_date": now,
        "qubits": qubits,
        "gates": gates,
        "general": [],
    }
