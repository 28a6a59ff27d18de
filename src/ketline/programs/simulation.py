"""The options ``simulator``, which an emulated QPU and a simulator obey and a machine's driver refuses."""

from __future__ import annotations

from typing import Any

from ketline.programs.failures import bad_option


def simulator_settings(options: Any) -> tuple[dict[str, object], int | None]:
    """What a unit's ``simulator`` holds (``noise_model``, ``coupling_map``, ``basis_gates``), and the seed.

    Raises:
        JobError: the seed is negative.
    """
    if options is None:
        return {}, None
    given: dict[str, object] = {}
    if options.noise_model is not None:
        given["noise_model"] = options.noise_model.value_
    if options.coupling_map is not None:
        given["coupling_map"] = [list(pair) for pair in options.coupling_map]
    if options.basis_gates is not None:
        given["basis_gates"] = list(options.basis_gates)
    seed = options.seed_simulator
    if seed is not None and seed < 0:
        raise bad_option("simulator.seed_simulator", f"{seed} is negative.")
    return given, seed
