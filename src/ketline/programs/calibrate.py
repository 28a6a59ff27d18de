"""Calibrate (``rest.md`` E.6): characterises the readout of all qubits and asks for a calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import orjson

from ketline.programs.base import Prepared, Result
from ketline.programs.executor import utc_text
from ketline.programs.failures import unreadable
from ketline.programs.rounds import Execution, unit_of
from ketline.programs.wire.fields import known_keys
from ketline.units.work import WorkItem

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

    from ketline.programs.base import Params, ProgramContext
    from ketline.units.work import Outcome

_VERSION = "v0.1"
_SHOTS = 1024


class Calibrate:
    """Program ``calibrate``.

    On the QPU it reads out all qubits prepared in 0 and in 1; `Result.calibrate` then asks the service for
    the QPU's own calibration, after which its properties are published anew.
    """

    def prepare(self, params: Params, context: ProgramContext) -> Prepared:
        """Make the circuits.

        Raises:
            JobError: another version, or an option that doesn't exist.
        """
        tree = known_keys(params.tree, {"schema_version", "options"}, "params")
        if tree.get("schema_version") != _VERSION:
            raise unreadable(
                "schema_version",
                f"{tree.get('schema_version')!r} isn't supported; {_VERSION} is.",
                "Update the client.",
            )
        options = known_keys(tree.get("options", {}), {"experimental"}, "options")
        known_keys(options.get("experimental", {}), set(), "options.experimental")
        items = [WorkItem(circuit, np.zeros((1, 0)), _SHOTS) for circuit in _readout_circuits(context)]
        return Prepared(unit_of(items, Execution(), context), b"")

    def finalize(self, state: bytes, outcome: Outcome, context: ProgramContext) -> Result:
        """Tell when it was done."""
        body = {
            "schema_version": _VERSION,
            "start": utc_text(min(span.start for span in outcome.spans)),
            "stop": utc_text(max(span.stop for span in outcome.spans)),
        }
        return Result(orjson.dumps(body), calibrate=True)


def _readout_circuits(context: ProgramContext) -> list[QuantumCircuit]:
    from qiskit.circuit import ClassicalRegister, QuantumCircuit

    target = context.device.target
    qubits = [q for q in range(context.device.num_qubits) if target.instruction_supported("measure", (q,))]
    made = []
    for excited in (False, True):
        circuit = QuantumCircuit(context.device.num_qubits)
        circuit.add_register(ClassicalRegister(len(qubits), "c"))
        if excited:
            circuit.x(qubits)
            circuit.barrier(qubits)
        circuit.measure(qubits, circuit.cregs[0])
        made.append(circuit)
    return made
