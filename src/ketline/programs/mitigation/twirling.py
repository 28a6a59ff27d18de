"""Twirling: random Pauli (and bit-flip) frames around layers of gates and measurements.

    size = sizes(shots=4096, randomizations="auto", shots_per_randomization="auto")
    template = twirl(circuit, gates=True, measures=True, strategy="active-accum")
    drawn = template.draw(points, size.randomizations, rng)
    item = WorkItem(template.circuit, drawn.parameter_values, size.shots)
    ...
    bits = undo(outcome.bits, drawn.flips)      # as if nothing had been flipped

Parameter sets lie randomisation by randomisation: set ``r * n_points + i`` is point ``i`` in randomisation
``r``, so ``bits[name].reshape(size.randomizations, n_points, size.shots, -1)`` takes them apart.

Boxing and sampling are samplomatic's, and so are the names of its inputs. Gates are twirled with the Pauli
group; as on IBM's systems, parameterised two-qubit gates (rzz) can't be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import ClassicalRegister, QuantumCircuit
from qiskit.quantum_info import PauliLindbladMap
from qiskit.transpiler import TranspilerError
from samplomatic import ChangeBasis, InjectNoise, build
from samplomatic.exceptions import BuildError, SamplexError
from samplomatic.samplex import Samplex
from samplomatic.transpiler import generate_boxing_pass_manager
from samplomatic.utils import get_annotation

from ketline.programs.failures import rejected
from ketline.programs.mitigation.circuits import compact, place, used_qubits
from ketline.programs.mitigation.samplexes import draw
from ketline.programs.recurring import samplex_bytes
from ketline.units.packing import circuit_bytes

Strategy = Literal["active", "active-accum", "active-circuit", "all"]

FRACTIONAL_GATES = frozenset({"rzz", "rxx", "ryy", "rzx", "crx", "cry", "crz", "cp"})
"""Two-qubit gates with an angle, whose twirl or fold wouldn't be the same gate."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Randomisations of a circuit, and shots of each."""

    randomizations: int
    shots: int


def sizes(
    shots: int,
    randomizations: int | Literal["auto"] = "auto",
    shots_per_randomization: int | Literal["auto"] = "auto",
) -> Sizes:
    """Split shots into randomisations as the client documents it (``rest.md`` E.2).

    Both auto: ``max(64, ceil(shots / 32))`` shots each. One auto: so that the product reaches ``shots``.
    Neither: as given.
    """
    from qiskit_ibm_runtime.executor.calculate_twirling_shots import calculate_twirling_shots

    return Sizes(*calculate_twirling_shots(shots, randomizations, shots_per_randomization))


@dataclass(frozen=True, slots=True)
class NoiseSite:
    """Where a layer's noise is injected: after the layer of ``gates`` that acts within ``qubits``.

    ``ref`` is the samplex's name of the layer; ``qubits`` are physical and ascending, and qubit ``i`` of the
    layer's `PauliLindbladMap` is ``qubits[i]``. ``gates`` are (name, physical qubits), sorted.
    """

    ref: str
    qubits: tuple[int, ...]
    gates: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True)
class Drawn:
    """Parameter sets of a template, ``randomisations * points`` of them, and what undoes their twirl.

    ``parameter_values``: float64 ``(sets, parameters)``. ``flips``: register -> bool ``(sets, size)``, last
    axis by clbit index; empty without measurement twirling. ``signs``: ±1 float64 ``(sets,)``, what to
    multiply results with when noise was injected with a negative rate; None without injected noise.
    """

    parameter_values: NDArray[np.float64]
    flips: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    signs: NDArray[np.float64] | None = None

    def part(self, first: int, sets: int) -> Drawn:
        """Some of the sets."""
        own = slice(first, first + sets)
        return Drawn(
            self.parameter_values[own],
            {name: flips[own] for name, flips in self.flips.items()},
            None if self.signs is None else self.signs[own],
        )


@dataclass(frozen=True)
class Template:
    """A circuit with a random frame: ``circuit`` is what runs, ``samplex`` what draws its parameters.

    The qubits whose final measurement basis is an input are ``basis_columns`` of the samplex's input,
    ascending, out of ``basis_width``: the last measurement's box may hold others, which are only twirled.
    ``sites`` are all noise sites, in the circuit's order, when there are any.
    """

    circuit: QuantumCircuit
    samplex: Samplex
    basis_ref: str | None = None
    basis_columns: tuple[int, ...] = ()
    basis_width: int = 0
    sites: tuple[NoiseSite, ...] = ()

    def draw(
        self,
        points: NDArray[np.float64],
        randomizations: int,
        rng: np.random.Generator,
        *,
        bases: NDArray[np.uint8] | None = None,
        maps: Mapping[str, PauliLindbladMap] | None = None,
        scale: float = 1.0,
    ) -> Drawn:
        """Draw randomisations for every point of a sweep.

        Args:
            points: Parameter values, ``(n_points, n_parameters)`` in the order of the original circuit's
                ``parameters``; one row without parameters.
            randomizations: How many to draw for each point.
            rng: The source of randomness.
            bases: Measurement basis of every point, uint8 ``(n_points, measured qubits)`` in ascending
                order of the qubits: 0 I, 1 Z, 2 X, 3 Y; for templates with such an input.
            maps: Noise to inject, by `NoiseSite.ref`; required if the template has sites.
            scale: Factor on all rates of ``maps``; negative takes noise away (see `Drawn.signs`).
        """
        arguments: dict[str, object] = {}
        names = set(self.samplex.inputs()) | {spec.name for spec in self.samplex.inputs().specs}
        if "parameter_values" in names:
            arguments["parameter_values"] = points
        if self.basis_ref is not None:
            if bases is None:
                raise ValueError("this template needs bases")
            for spec in self.samplex.inputs().get_specs("basis_changes"):
                arguments[spec.name] = np.zeros(spec.shape, np.uint8)
            whole = np.zeros((len(bases), self.basis_width), np.uint8)
            whole[:, list(self.basis_columns)] = bases
            arguments[self.basis_ref] = whole
        refs = {site.ref for site in self.sites}
        if refs:
            given = dict(maps or {})
            arguments["pauli_lindblad_maps"] = {ref: given[ref] for ref in refs}
            arguments["noise_scales"] = dict.fromkeys(refs, float(scale))
        shape = (randomizations, len(points))
        arrays = draw(self.samplex, arguments, shape, rng)
        sets = randomizations * len(points)
        values = arrays.get("parameter_values", np.zeros((*shape, 0)))
        flips = {
            name.partition(".")[2]: array.reshape(sets, array.shape[-1])
            for name, array in arrays.items()
            if name.startswith("measurement_flips.")
        }
        signs = None
        if "pauli_signs" in arrays:
            signs = 1.0 - 2.0 * (np.count_nonzero(arrays["pauli_signs"], axis=-1) % 2).reshape(sets)
        return Drawn(values.reshape(sets, -1), flips, signs)


def template_bytes(template: Template) -> int:
    """Roughly how much memory a template takes."""
    return circuit_bytes(template.circuit) + samplex_bytes(template.samplex)


def twirl(
    circuit: QuantumCircuit,
    *,
    gates: bool,
    measures: bool,
    strategy: Strategy = "active-accum",
    change_basis: bool = False,
    noise_sites: bool = False,
    field: str = "twirling",
) -> Template:
    """Box a circuit and build its template.

    Args:
        circuit: In the device's instruction set, on physical qubits, without boxes or control flow.
        gates: Twirl layers of two-qubit gates.
        measures: Twirl measurements.
        strategy: Which idle qubits are twirled with a layer. ``all`` is ``active-circuit`` here: a frame on a
            qubit that nothing ever acts upon changes nothing.
        change_basis: Make the basis of the last measurements an input.
        noise_sites: Let noise be injected after every twirled layer of gates.
        field: The option that asks for it, for messages.

    Raises:
        JobError: the circuit can't be twirled; the message names the option and the instruction.
    """
    _check(circuit, gates, field)
    qubits = used_qubits(circuit)
    boxes = generate_boxing_pass_manager(
        enable_gates=gates,
        enable_measures=measures or change_basis,
        measure_annotations=("all" if measures else "change_basis") if change_basis else "twirl",
        twirling_strategy={"all": "active_circuit"}.get(strategy, strategy.replace("-", "_")),
        inject_noise_targets="gates" if noise_sites else "none",
        inject_noise_strategy="uniform_modification" if noise_sites else "no_modification",
    )
    small = compact(circuit, qubits)
    if loose := [bit for bit in small.clbits if not small.find_bit(bit).registers]:
        # samplomatic knows bits by their registers only.
        taken = {register.name for register in small.cregs}
        name = next(name for name in (f"_loose{k}" for k in range(len(taken) + 1)) if name not in taken)
        small.add_register(ClassicalRegister(name=name, bits=loose))
    try:
        boxed = boxes.run(small)
        template, samplex = build(boxed)
    except (TranspilerError, BuildError, SamplexError) as error:
        raise rejected(
            field,
            f"the circuit can't be twirled: {error}",
            "Write it with rz, sx, x, rx and one of cz, cx and ecr, or turn twirling off.",
        ) from None
    return Template(
        place(template, qubits, circuit.num_qubits),
        samplex,
        *(_last_basis(boxed) if change_basis else (None, (), 0)),
        sites=_sites(boxed, qubits),
    )


def _check(circuit: QuantumCircuit, gates: bool, field: str) -> None:
    names = circuit.count_ops()
    if circuit.has_control_flow_op():
        raise rejected(
            field,
            "dynamic circuits (circuits with control flow or boxes) can't be twirled.",
            f"Turn {field} off for this circuit.",
        )
    if gates and (fractional := sorted(FRACTIONAL_GATES & names.keys())):
        raise rejected(
            f"{field}.enable_gates",
            f"fractional gates can't be twirled; the circuit has {', '.join(fractional)}.",
            "Transpile for a backend made with use_fractional_gates=False, or turn gate twirling off.",
        )


def _last_basis(boxed: QuantumCircuit) -> tuple[str | None, tuple[int, ...], int]:
    """The input for the basis of the last measurement; where in it each measured qubit is; its size.

    A strategy may twirl more qubits with a measurement than it measures.
    """
    for instruction in reversed(boxed.data):
        if instruction.operation.name == "box":
            annotation = get_annotation(instruction.operation, ChangeBasis)
            if annotation is not None:
                outer = [boxed.find_bit(qubit).index for qubit in instruction.qubits]
                body = instruction.operation.body
                measured = {
                    outer[body.find_bit(inside.qubits[0]).index]
                    for inside in body.data
                    if inside.operation.name == "measure"
                }
                places = tuple(place for place, qubit in enumerate(sorted(outer)) if qubit in measured)
                return f"basis_changes.{annotation.ref}", places, len(outer)
    return None, (), 0


def _sites(boxed: QuantumCircuit, qubits: list[int]) -> tuple[NoiseSite, ...]:
    sites = []
    for instruction in boxed.data:
        if instruction.operation.name != "box":
            continue
        annotation = get_annotation(instruction.operation, InjectNoise)
        if annotation is None or not annotation.ref:
            continue
        outer = [qubits[boxed.find_bit(qubit).index] for qubit in instruction.qubits]
        body = instruction.operation.body
        inner = [
            (inside.operation.name, tuple(outer[body.find_bit(qubit).index] for qubit in inside.qubits))
            for inside in body.data
            if len(inside.qubits) == 2 and inside.operation.name != "barrier"
        ]
        sites.append(NoiseSite(annotation.ref, tuple(sorted(outer)), tuple(sorted(inner))))
    return tuple(sites)


def undo(
    bits: Mapping[str, NDArray[np.uint8]], flips: Mapping[str, NDArray[np.bool_]]
) -> dict[str, NDArray[np.uint8]]:
    """Undo measurement flips in the bits of an `ItemOutcome`.

    Args:
        bits: Register -> uint8 ``(sets, shots, ceil(size / 8))`` as in `ketline.units.work.ItemOutcome`.
        flips: `Drawn.flips`; registers that aren't in it come back as they are.
    """
    undone = dict(bits)
    for name, flip in flips.items():
        packed = np.packbits(flip, axis=-1, bitorder="little")[:, None, ::-1]
        undone[name] = bits[name] ^ packed
    return undone
