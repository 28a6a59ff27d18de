"""The text in which a schedule is told: one line an instruction and qubit.

``Branch,Instruction,Channel,T0,Duration,Pulse``, as the client's `draw_circuit_schedule_timing` reads it:
the branch (main, then, else, …), the instruction's name and its number in the circuit, the channel, start
and length in dt, and what kind of thing is played.
"""

from __future__ import annotations

from collections.abc import Iterator

from ketline.qpus.schedule import Schedule

_READOUT = "AWGR"


def text(schedule: Schedule) -> str:
    """A schedule as text."""
    return "\n".join(_lines(schedule, "main", 0))


def _lines(schedule: Schedule, branch: str, offset: int) -> Iterator[str]:
    for number, event in enumerate(schedule.events):
        name = event.instruction.operation.name
        start = offset + event.start
        if event.branches:
            for label, inner in event.branches:
                yield from _lines(inner, _branch(label), start)
            continue
        kind = _kind(name, event.duration)
        for qubit in event.qubits:
            yield f"{branch},{name}_{number},Qubit {qubit},{start},{event.duration},{kind}"
            if name == "measure":
                yield f"{branch},{name}_{number},{_READOUT}{qubit},{start},{event.duration},capture"


def _branch(label: str) -> str:
    """The client draws three kinds of branches; a case is drawn as ``then``."""
    return label if label in ("main", "then", "else") else "then"


def _kind(name: str, duration: int) -> str:
    if name == "barrier":
        return "barrier"
    if name == "delay":
        return "delay"
    return "play" if duration else "shift_phase"
