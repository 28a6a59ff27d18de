"""The sampler (``rest.md`` E.2): counts, or IQ points, of every PUB."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ketline.programs import state as states
from ketline.programs.base import Prepared, Result
from ketline.programs.check import check_rep_delay, surveyed
from ketline.programs.decoupling import Decouple
from ketline.programs.executor import duration_in_dt, experimental_execution
from ketline.programs.failures import bad_option, unreadable
from ketline.programs.items import Item, metadata_text, pack_flips, packed_of, registers
from ketline.programs.mitigation.twirling import sizes, template_bytes, twirl
from ketline.programs.options import lifted, validated
from ketline.programs.rounds import Assembly, Execution
from ketline.programs.simulation import simulator_settings
from ketline.programs.spans import execution_spans
from ketline.programs.wire.fields import known_keys
from ketline.programs.wire.pubs import SamplerPub, read_sampler_pubs
from ketline.programs.wire.unpack import Budget
from ketline.programs.wire.values import read_options

if TYPE_CHECKING:
    from ketline.programs.base import Params, ProgramContext
    from ketline.units.work import ItemOutcome, Outcome

_KEYS = {"pubs", "options", "version", "support_qiskit", "shots"}


class Sampler:
    """Program ``sampler``, as the client's legacy class and hand-written requests post it."""

    def prepare(self, params: Params, context: ProgramContext) -> Prepared:
        """Read PUBs and options, twirl and decouple as asked.

        Raises:
            JobError: the payload can't be read, an option isn't allowed, or a circuit isn't for this device.
        """
        from ibm_quantum_schemas.sampler.version_0_1.options import OptionsModel

        budget = Budget(context.limits.max_decompressed_bytes)
        tree = known_keys(params.tree, _KEYS, "params")
        check_version(tree)
        options = validated(OptionsModel, lifted(read_options(tree.get("options") or {}, budget)))
        run_shots = tree.get("shots")
        if run_shots is not None and (type(run_shots) is not int or run_shots < 1):
            raise unreadable("shots", f"{run_shots!r} isn't a whole number of at least 1.")
        meas_type = options.execution.meas_type
        if meas_type != "classified" and options.twirling.enable_measure:
            raise bad_option(
                "twirling.enable_measure",
                f"isn't possible with execution.meas_type {meas_type!r}.",
                "Turn measurement twirling off, or ask for classified results.",
            )
        asked = experimental_execution(options.experimental)
        settings, seed = simulator_settings(options.simulator)
        execution = Execution(
            meas_level=meas_type,
            init_qubits=options.execution.init_qubits,
            rep_delay_seconds=check_rep_delay(options.execution.rep_delay, context),
            seed=seed,
            idle_noise=options.dynamical_decoupling.enable,
            scheduler_timing=asked.scheduler_timing,
            stretch_values=asked.stretch_values,
            allow_approximation=asked.allow_approximation,
            simulator=settings,
        )
        # From here on circuit by circuit: only what is run and what the result needs is kept of each.
        assembly = Assembly(execution, context, limit_executions=True)
        kept = []
        for number, pub in enumerate(read_sampler_pubs(tree.get("pubs"), budget, context.memory)):
            item, facts = _item(pub, number, run_shots, options, context)
            drawn = assembly.add(item, f"pubs[{number}]")
            facts["flips"] = {
                name.partition(".")[2]: value
                for name, value in drawn.items()
                if name.startswith("measurement_flips.")
            }
            kept.append(facts)
        unit = assembly.unit()
        state = states.pack(
            {
                "pubs": kept,
                "level": meas_type,
                "client": tree.get("support_qiskit", True) is not False,
            }
        )
        return Prepared(unit, state)

    def finalize(self, state: bytes, outcome: Outcome, context: ProgramContext) -> Result:
        """Undo flips and write the result, for the client's decoder or as plain JSON."""
        kept = states.unpack(state)
        arrays = [
            _pub_arrays(pub, ran, kept["level"]) for pub, ran in zip(kept["pubs"], outcome.items, strict=True)
        ]
        metadata = [
            _pub_metadata(pub, ran, context) for pub, ran in zip(kept["pubs"], outcome.items, strict=True)
        ]
        if kept["client"]:
            return Result(_for_client(kept, arrays, metadata, outcome))
        return Result(_plain(kept, arrays, metadata, outcome))


def check_version(tree: dict[str, Any]) -> None:
    """Only version 2 of the primitives exists any more."""
    if tree.get("version", 2) != 2:
        raise unreadable("version", f"{tree['version']!r} isn't supported; 2 is.", "Use V2 primitives.")
    if not isinstance(tree.get("support_qiskit", True), bool):
        raise unreadable("support_qiskit", "neither true nor false.")


def _item(
    pub: SamplerPub, number: int, run_shots: int | None, options: Any, context: ProgramContext
) -> tuple[Item, dict[str, Any]]:
    field = f"pubs[{number}]"
    asked = pub.shots if pub.shots is not None else run_shots
    shots = asked if asked is not None else options.default_shots
    twirling = options.twirling
    facts: dict[str, Any] = {
        "registers": registers(pub.circuit),
        "circuit_metadata": metadata_text(pub.circuit, context, field),
        "randomizations": 0,
    }
    if not (twirling.enable_gates or twirling.enable_measure):
        item = Item(pub.circuit, pub.shape, shots, pub.values, key=pub.key)
    else:
        surveyed(pub.circuit, pub.key, context, field)
        size = _sizes(asked, shots, twirling)
        gates, measures, strategy = twirling.enable_gates, twirling.enable_measure, twirling.strategy
        key = None if pub.key is None else ("twirled", pub.key, gates, measures, strategy)
        template = context.memory.get(
            key, lambda: twirl(pub.circuit, gates=gates, measures=measures, strategy=strategy), template_bytes
        )
        inputs = template.samplex.inputs().make_broadcastable()
        if pub.values.shape[-1]:
            inputs["parameter_values"] = pub.values
        item = Item(
            template.circuit,
            (size[0], *pub.shape),
            size[1],
            samplex=template.samplex,
            samplex_arguments=inputs,
            key=key,
        )
        facts["randomizations"] = size[0]
        shots = asked if asked is not None else size[0] * size[1]
    if options.dynamical_decoupling.enable:
        surveyed(pub.circuit, pub.key, context, field)
        decouple = Decouple(options.dynamical_decoupling, context, field)
        item.circuit, item.key = decouple(item.circuit, item.key), None
    facts |= {"shape": item.shape, "pub_shape": pub.shape, "item_shots": item.shots, "shots": shots}
    return item, facts


def _sizes(asked: int | None, shots: int, twirling: Any) -> tuple[int, int]:
    """Randomisations and shots of each; shots that a PUB or the call asks for win over their product."""
    randomizations, each = twirling.num_randomizations, twirling.shots_per_randomization
    if asked is not None and randomizations != "auto" and each != "auto":
        randomizations = math.ceil(asked / each)
    found = sizes(shots, randomizations, each)
    return found.randomizations, found.shots


def _pub_arrays(pub: dict[str, Any], ran: ItemOutcome, level: str) -> dict[str, NDArray[Any]]:
    """What each register gives: packed bits ``(*pub_shape, shots, bytes)``, or IQ points."""
    shape = tuple(pub["shape"])
    arrays: dict[str, NDArray[Any]] = {}
    for name in pub["registers"]:
        if level != "classified":
            points = ran.iq[name].reshape(*shape, *ran.iq[name].shape[1:])
            if pub["randomizations"]:
                points = points.mean(axis=0) if level == "avg_kerneled" else _joined(points, pub)
            arrays[name] = points
            continue
        packed = packed_of(ran, name, shape)
        if name in pub["flips"]:
            packed = packed ^ pack_flips(pub["flips"][name])
        arrays[name] = _joined(packed, pub) if pub["randomizations"] else packed
    return arrays


def _joined(array: NDArray[Any], pub: dict[str, Any]) -> NDArray[Any]:
    """Put randomisations, the first axis, one after another on the axis of shots, cut to the shots asked."""
    ndim = len(pub["pub_shape"])
    moved = np.moveaxis(array, 0, ndim)
    flat = moved.reshape(*pub["pub_shape"], -1, array.shape[-1])
    return flat[..., : pub["shots"], :]


def _pub_metadata(pub: dict[str, Any], ran: ItemOutcome, context: ProgramContext) -> dict[str, Any]:
    metadata: dict[str, Any] = {"circuit_metadata": json.loads(pub["circuit_metadata"])}
    if pub["randomizations"]:
        metadata["num_randomizations"] = pub["randomizations"]
    compilation: dict[str, Any] = {}
    if ran.timing is not None:
        compilation["scheduler_timing"] = {
            "timing": ran.timing,
            "circuit_duration": duration_in_dt(ran, context),
        }
    if ran.stretch_values is not None:
        compilation["stretch_values"] = ran.stretch_values
    if compilation:
        metadata["compilation"] = compilation
    return metadata


def _for_client(
    kept: dict[str, Any],
    arrays: list[dict[str, NDArray[Any]]],
    metadata: list[dict[str, Any]],
    outcome: Outcome,
) -> bytes:
    from qiskit.primitives.containers import BitArray
    from qiskit_ibm_runtime.json import RuntimeEncoder

    results = []
    for pub, data, facts in zip(kept["pubs"], arrays, metadata, strict=True):
        fields = {
            name: BitArray(np.ascontiguousarray(array), pub["registers"][name])
            if kept["level"] == "classified"
            else array
            for name, array in data.items()
        }
        databin = {"field_names": list(fields), "shape": list(pub["pub_shape"]), "fields": fields}
        results.append(
            typed("SamplerPubResult", {"data": typed("DataBin", databin), "metadata": facts}),
        )
    whole = {
        "pub_results": results,
        "metadata": {
            "execution": {"execution_spans": execution_spans(kept["pubs"], outcome)},
            "version": 2,
            **_approximations(outcome),
        },
    }
    return json.dumps(typed("PrimitiveResult", whole), cls=RuntimeEncoder).encode()


def typed(kind: str, value: Any) -> dict[str, Any]:
    """A value as the client's decoder expects it."""
    return {"__type__": kind, "__value__": value}


def _plain(
    kept: dict[str, Any],
    arrays: list[dict[str, NDArray[Any]]],
    metadata: list[dict[str, Any]],
    outcome: Outcome,
) -> bytes:
    """``support_qiskit: false``: samples as hexadecimal words, IQ points as pairs of numbers."""
    results = []
    for pub, data, facts in zip(kept["pubs"], arrays, metadata, strict=True):
        fields = {}
        for name, array in data.items():
            if kept["level"] == "classified":
                fields[name] = {"samples": _words(array), "num_bits": pub["registers"][name]}
            else:
                fields[name] = {"samples": np.stack([array.real, array.imag], axis=-1).tolist()}
        results.append({"data": fields, "metadata": facts})
    return json.dumps({"results": results, "metadata": {"version": 2, **_approximations(outcome)}}).encode()


def _approximations(outcome: Outcome) -> dict[str, list[str]]:
    """What an emulator didn't simulate exactly, where there is anything to tell."""
    return {"approximations": outcome.approximations} if outcome.approximations else {}


def _words(packed: NDArray[np.uint8]) -> Any:
    """Packed bits ``(*shape, shots, bytes)`` as nested lists of words such as ``"0x2"``."""
    if packed.ndim > 2:
        return [_words(part) for part in packed]
    return [hex(int.from_bytes(row.tobytes(), "big")) for row in packed]
