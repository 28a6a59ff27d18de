"""Noise that was learned earlier in a session or batch, kept for its later jobs.

One file a layer, in a folder that belongs to one session or batch alone, so nobody learns anything of anybody
else. What was learned under another calibration or with other options is learned again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from ketline.programs.mitigation.layers import Layer, LayerNoise

if TYPE_CHECKING:
    from ketline.programs.base import ProgramContext

_MOST_FILES = 1_000


def recall(layers: Sequence[Layer], options: Any, context: ProgramContext) -> list[LayerNoise]:
    """What is known of these layers; ``options`` (JSON) are those that they would be learned with."""
    if context.cache_folder is None:
        return []
    found = []
    for layer in layers:
        try:
            text = _file(layer, options, context).read_bytes()
        except OSError:
            continue
        found.append(LayerNoise.from_tree(orjson.loads(text)))
    return found


def remember(noises: Iterable[LayerNoise], options: Any, context: ProgramContext) -> None:
    """Keep what was learned; layers of which nothing is known aren't kept."""
    folder = context.cache_folder
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    room = _MOST_FILES - len(list(folder.glob("layer-*.json")))
    for noise in noises:
        if noise.error is None or room <= 0:
            continue
        path = _file(noise.layer, options, context)
        unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
        unfinished.write_bytes(orjson.dumps(noise.to_tree()))
        unfinished.replace(path)
        room -= 1


def _file(layer: Layer, options: Any, context: ProgramContext) -> Path:
    assert context.cache_folder is not None
    device = context.device
    facts = [layer.gates, layer.qubits, options, device.name, device.calibration_id]
    name = hashlib.sha256(orjson.dumps(facts)).hexdigest()[:32]
    return context.cache_folder / f"layer-{name}.json"
