"""Recorded devices: the snapshots that come with the client package, served under names of our own.

The client's package isn't imported: its files are found beside it, so the API's process can serve them.
What is changed in them follows `rest.md` F: name, dynamic circuits and fractional gates announced where the
device has them, everything else as it was recorded.
"""

from __future__ import annotations

import copy
import json
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ketline.qpus.driver import DriverError
from ketline.units.device import Device

CONTROL_FLOW = ("if_else", "for_loop", "while_loop", "switch_case")
FRACTIONAL = ("rx", "rzz")

_QASM = {
    "rx": ("theta", "gate rx(theta) q { U(theta, -pi/2, pi/2) q; }"),
    "rzz": ("theta", "gate rzz(theta) p,q { cx p,q; rz(theta) q; cx p,q; }"),
}
_UNRECORDED_DELAY_MICROSECONDS = 250.0
_IDEAL_GATES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("id", "x", "y", "z", "h", "s", "sdg", "t", "tdg", "sx", "sxdg"), ()),
    **dict.fromkeys(("rx", "ry", "rz", "p"), ("theta",)),
    "r": ("theta", "phi"),
    "u": ("theta", "phi", "lam"),
    **dict.fromkeys(("cx", "cy", "cz", "ecr", "swap", "csx", "ccx", "ccz", "cswap"), ()),
    **dict.fromkeys(("cp", "crx", "cry", "crz", "rxx", "ryy", "rzz", "rzx"), ("theta",)),
}


def _folder() -> Path:
    spec = find_spec("qiskit_ibm_runtime")
    if spec is None or spec.origin is None:
        raise DriverError(
            "the package qiskit-ibm-runtime, which brings the device snapshots, isn't installed"
        )
    return Path(spec.origin).parent / "fake_provider" / "backends"


@lru_cache(maxsize=1)
def devices() -> tuple[str, ...]:
    """The devices that there are snapshots of, by their short names (``fez``, ``manila``, …)."""
    return tuple(
        sorted(
            folder.name
            for folder in _folder().iterdir()
            if (folder / f"conf_{folder.name}.json").is_file()
            and (folder / f"props_{folder.name}.json").is_file()
        )
    )


@lru_cache(maxsize=8)
def _recorded(device: str) -> tuple[dict[str, Any], dict[str, Any]]:
    if device not in devices():
        raise DriverError(f"there is no snapshot of a device {device!r}; known are {', '.join(devices())}")
    folder = _folder() / device
    configuration = json.loads((folder / f"conf_{device}.json").read_text(encoding="utf-8"))
    properties = json.loads((folder / f"props_{device}.json").read_text(encoding="utf-8"))
    _announce(configuration, properties)
    return configuration, properties


def _announce(configuration: dict[str, Any], properties: dict[str, Any]) -> None:
    """State in a recorded configuration what the emulated device can do."""
    configuration["simulator"] = False
    configuration["local"] = False
    features = configuration.get("supported_features") or []
    configuration["supported_features"] = list(dict.fromkeys([*features, "dynamic_circuits"]))
    if configuration.get("default_rep_delay") is None:
        configuration["default_rep_delay"] = _UNRECORDED_DELAY_MICROSECONDS
    known = configuration.get("supported_instructions") or [
        *configuration["basis_gates"], "measure", "reset", "delay",
    ]  # fmt: skip
    listed = {gate["name"] for gate in configuration["gates"]}
    for name in FRACTIONAL:
        places = [gate["qubits"] for gate in properties["gates"] if gate["gate"] == name]
        if not places:
            continue
        if name not in listed:
            parameter, definition = _QASM[name]
            configuration["gates"].append(
                {"name": name, "parameters": [parameter], "qasm_def": definition, "coupling_map": places}
            )
        configuration["basis_gates"] = list(dict.fromkeys([*configuration["basis_gates"], name]))
        known = [*known, name]
    configuration["supported_instructions"] = list(dict.fromkeys([*known, *CONTROL_FLOW]))


def snapshot(device: str, name: str) -> Device:
    """The recorded device under the name ``name``; a copy that the caller may keep.

    Raises:
        DriverError: there is no snapshot of ``device``.
    """
    recorded_configuration, recorded_properties = _recorded(device)
    configuration = {**copy.deepcopy(recorded_configuration), "backend_name": name}
    properties = {**copy.deepcopy(recorded_properties), "backend_name": name}
    return Device(name, configuration, properties)


def ideal(device: str, name: str) -> Device:
    """An ideal simulator with as many qubits as a recorded device, coupled all to all, without properties.

    Raises:
        DriverError: there is no snapshot of ``device``.
    """
    recorded, _ = _recorded(device)
    configuration = {
        "backend_name": name,
        "backend_version": recorded["backend_version"],
        "n_qubits": recorded["n_qubits"],
        "basis_gates": list(_IDEAL_GATES),
        "gates": [
            {"name": gate, "parameters": list(parameters), "qasm_def": ""}
            for gate, parameters in _IDEAL_GATES.items()
        ],
        "supported_instructions": [*_IDEAL_GATES, "measure", "reset", "delay", *CONTROL_FLOW],
        "supported_features": ["qasm3", "dynamic_circuits"],
        "local": False,
        "simulator": True,
        "conditional": True,
        "open_pulse": False,
        "memory": True,
        "max_shots": 10_000_000,
        "coupling_map": None,
        "online_date": recorded["online_date"],
        "dt": recorded.get("dt"),
        "default_rep_delay": 0.0,
        "rep_delay_range": [0.0, 0.0],
        "description": "ideal simulator",
    }
    return Device(name, configuration, None)


def mock_name(name: str) -> str:
    """The name of a QPU's twin for dry runs: ``ket_fez`` has ``mock_fez``."""
    return f"mock_{name.partition('_')[2]}"
