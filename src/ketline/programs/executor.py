"""The executor: runs circuit and samplex items and gives back raw data (``rest.md`` E.4)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from ketline.programs import state as states
from ketline.programs.base import Prepared, Result
from ketline.programs.check import check_rep_delay
from ketline.programs.failures import bad_option
from ketline.programs.items import bits_of, registers
from ketline.programs.rounds import Assembly, Execution
from ketline.programs.wire.fields import flag, known_keys
from ketline.programs.wire.program import VERSIONS, Version, read_program, write_tensor
from ketline.programs.wire.slices import value_bytes
from ketline.programs.wire.unpack import Budget

if TYPE_CHECKING:
    from datetime import datetime

    from ketline.programs.base import Params, ProgramContext
    from ketline.units.work import ItemOutcome, Outcome

_log = logging.getLogger(__name__)


class Executor:
    """Program ``executor``, in every version of its schema; answers in the version that was posted."""

    def prepare(self, params: Params, context: ProgramContext) -> Prepared:
        """Read the quantum program and draw from its samplexes.

        Raises:
            JobError: the payload can't be read, or isn't for this device.
        """
        posted = read_program(params, Budget(context.limits.max_decompressed_bytes))
        asked = experimental_execution(posted.experimental)
        execution = Execution(
            meas_level=posted.meas_level,
            init_qubits=posted.init_qubits,
            rep_delay_seconds=check_rep_delay(posted.rep_delay, context, "rep_delay"),
            scheduler_timing=posted.scheduler_timing or asked.scheduler_timing,
            stretch_values=posted.stretch_values or asked.stretch_values,
            allow_approximation=asked.allow_approximation,
        )
        assembly = Assembly(execution, context)
        items = []
        for number, item in enumerate(posted.items):
            if item.chunk_size is not None and not context.in_session:
                # As the client documents it (``modes.md`` 1.4).
                item.chunk_size = None
                _log.warning(
                    "quantum_program.items[%d].chunk_size counts in sessions only; here the QPU chooses it",
                    number,
                )
            drawn = assembly.add(item, f"quantum_program.items[{number}]")
            items.append({"shape": item.shape, "registers": registers(item.circuit), "extras": drawn})
        unit = assembly.unit()
        passthrough = None
        if posted.version.passthrough:
            passthrough = value_bytes(params.raw, ("quantum_program", "passthrough_data"))
        state = states.pack(
            {
                "version": posted.version.name,
                "role": posted.semantic_role,
                "level": posted.meas_level,
                "passthrough": passthrough or b"null",
                "items": items,
            }
        )
        return Prepared(unit, state)

    def finalize(self, state: bytes, outcome: Outcome, context: ProgramContext) -> Result:
        """Write the raw data in the posted version; nothing is untwirled."""
        kept = states.unpack(state)
        version = VERSIONS[kept["version"]]
        body: dict[str, Any] = {
            "schema_version": version.name,
            "data": [
                {
                    "results": _results(item, ran, kept["level"], version),
                    "metadata": _item_metadata(ran, context) if version.item_metadata else None,
                }
                for item, ran in zip(kept["items"], outcome.items, strict=True)
            ],
            "metadata": {"chunk_timing": _chunks(kept["items"], outcome, version)},
        }
        if outcome.approximations:
            body["metadata"]["approximations"] = outcome.approximations
        if version.role:
            body["semantic_role"] = kept["role"]
        text = orjson.dumps(body)
        if version.passthrough:
            text = b'%b,"passthrough_data":%b}' % (text[:-1], kept["passthrough"].tobytes())
        return Result(text)


@dataclass(frozen=True, slots=True)
class Experimental:
    """What ``experimental.execution`` may ask for."""

    scheduler_timing: bool = False
    stretch_values: bool = False
    allow_approximation: bool = True


def experimental_execution(experimental: object, *, timing: bool = True) -> Experimental:
    """Read ``experimental``, which may hold ``execution`` with the names of `Experimental`.

    ``allow_approximation: false`` refuses to run what an emulator can't simulate exactly. Without ``timing``
    the program has no place for timings in its result, and none may be asked for.

    Raises:
        JobError: anything else stands there.
    """
    if experimental in (None, {}):
        return Experimental()
    known = {"allow_approximation"} | ({"scheduler_timing", "stretch_values"} if timing else set())
    outer = known_keys(experimental, {"execution"}, "options.experimental")
    inner = known_keys(outer.get("execution", {}), known, "options.experimental.execution")
    return Experimental(
        **{name: flag(value, f"experimental.execution.{name}") for name, value in inner.items()}
    )


def _results(
    item: dict[str, Any], ran: ItemOutcome, level: str, version: Version
) -> dict[str, dict[str, Any]]:
    shape = tuple(item["shape"])
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for name, size in item["registers"].items():
        if level in {"classified", "both"}:
            arrays[name] = bits_of(ran, name, size, shape)
        if level in {"kerneled", "both"}:
            arrays[f"{name}_iq"] = ran.iq[name].reshape(*shape, *ran.iq[name].shape[1:])
        if level == "avg_kerneled":
            arrays[f"{name}_avg_iq"] = ran.iq[name].reshape(*shape, *ran.iq[name].shape[1:])
    arrays.update(item["extras"])
    return {name: write_tensor(array, compressed=version.compressed) for name, array in arrays.items()}


def _item_metadata(ran: ItemOutcome, context: ProgramContext) -> dict[str, Any]:
    timing = None
    if ran.timing is not None:
        timing = {"timing": ran.timing, "circuit_duration": duration_in_dt(ran, context)}
    return {"scheduler_timing": timing, "stretch_values": ran.stretch_values}


def duration_in_dt(ran: ItemOutcome, context: ProgramContext) -> int:
    """The scheduled length of a shot in samples of the device."""
    dt = context.device.dt_seconds
    if dt is None:
        raise bad_option("scheduler_timing", f"{context.device.name} doesn't tell its sample time.")
    return round((ran.circuit_duration_seconds or 0.0) / dt)


def utc_text(moment: datetime) -> str:
    """A time as the schemas write it."""
    return moment.isoformat().replace("+00:00", "Z")


def _chunks(items: list[dict[str, Any]], outcome: Outcome, version: Version) -> list[dict[str, Any]]:
    """Spans as chunks; parts that ran in one and the same span of time are one chunk."""
    chunks: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for span in outcome.spans:
        part: dict[str, Any] = {"idx_item": span.item, "size": span.last_set - span.first_set}
        if version.shared_circuits:
            part["permutation"] = list(range(len(items[span.item]["shape"])))
            part["element_range"] = [span.first_set, span.last_set, 1]
        chunks.setdefault((utc_text(span.start), utc_text(span.stop)), []).append(part)
    return [{"start": start, "stop": stop, "parts": parts} for (start, stop), parts in chunks.items()]
