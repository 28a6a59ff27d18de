"""From Aer's counts to packed bits.

The shots of one circuit are independent draws from one distribution, so any order of them is as good as
another: counts in random order are shots.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ketline.qpus.chain import in_order


def parse(keys: list[str], num_bits: int) -> NDArray[np.uint8]:
    """Hexadecimal memories as bits: shape ``(len(keys), num_bits)``, classical bit 0 first."""
    digits = 2 * max(1, (num_bits + 7) // 8)
    joined = "".join([key[2:].rjust(digits, "0") for key in keys])
    whole = np.frombuffer(bytes.fromhex(joined), dtype=np.uint8).reshape(len(keys), -1)
    return np.unpackbits(whole, axis=1)[:, ::-1][:, :num_bits]


def pack(bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bits ``(…, size)``, lowest first, as big-endian bytes ``(…, ceil(size / 8))`` (`units.work`)."""
    size = bits.shape[-1]
    missing = -size % 8
    if missing:
        padding = [(0, 0)] * (bits.ndim - 1) + [(0, missing)]
        bits = np.pad(bits, padding)
    return np.packbits(bits[..., ::-1], axis=-1)


def unpack(packed: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The reverse of `pack`."""
    return np.unpackbits(packed, axis=-1)[..., ::-1][..., :size]


class Shots:
    """Shots of one item, collected piece by piece and part by part.

    Each part of the item brings bits of its own; where it has none its bits are 0.

    Args:
        registers: the classical registers by name, as places of their bits.
        num_bits: classical bits of the circuit.
        sets: parameter sets.
        shots: shots of each.
        parts: parts of the item.
    """

    def __init__(
        self, registers: Mapping[str, list[int]], num_bits: int, sets: int, shots: int, parts: int = 1
    ) -> None:
        self.registers = registers
        self.num_bits = num_bits
        self.sets = sets
        self.shots = shots
        self.bits = {
            name: np.zeros((sets, shots, (len(places) + 7) // 8), dtype=np.uint8)
            for name, places in registers.items()
        }
        self._filled = np.zeros((parts, sets), dtype=np.int64)

    def next_open(self, first: int, part: int = 0) -> int:
        """The first set from ``first`` on that lacks shots of a part."""
        return first + int(np.argmax(self._filled[part, first:] < self.shots))

    def add(
        self, index: int, counts: Mapping[str, int], rng: np.random.Generator, *, spill: bool, links: int,
        part: int = 0,
    ) -> None:  # fmt: skip
        """Append counts to one set, in random order; what it doesn't need goes on in the next, or is dropped.

        Args:
            index: the set.
            counts: how often each hexadecimal memory was seen.
            rng: randomness.
            spill: whether shots beyond the set's go to the next.
            links: consecutive shots in one memory, first ones lowest.
            part: which part of the item they are of.
        """
        table = parse(list(counts), self.num_bits * links)
        picks = np.repeat(np.arange(len(table)), np.fromiter(counts.values(), np.int64, len(counts)))
        rng.shuffle(picks)
        if links > 1:
            table = in_order(table, links)
            picks = (picks[:, None] * links + np.arange(links)).ravel()
        packed = {name: pack(table[:, places]) for name, places in self.registers.items()}
        self._append(index, {name: rows[picks] for name, rows in packed.items()}, len(picks), spill, part)

    def add_bits(
        self, index: int, bits: NDArray[np.uint8], clbits: list[int], *, spill: bool, part: int = 0
    ) -> None:
        """Append shots to one set, as `add` does.

        Args:
            index: the set.
            bits: shape ``(shots, len(clbits))``.
            clbits: the classical bit of each column.
            spill: whether shots beyond the set's go to the next.
            part: which part of the item they are of.
        """
        self._append(index, self._packed(bits, clbits), len(bits), spill, part)

    def _packed(self, bits: NDArray[np.uint8], clbits: list[int]) -> dict[str, NDArray[np.uint8]]:
        """Bits packed by register; the last axis of ``bits`` is that of ``clbits``."""
        column = {clbit: i for i, clbit in enumerate(clbits)}
        found = {}
        for name, places in self.registers.items():
            kept = [(position, column[place]) for position, place in enumerate(places) if place in column]
            if not kept:
                continue
            if [own for _, own in kept] == list(range(len(places))) == list(range(bits.shape[-1])):
                found[name] = pack(bits)
                continue
            wide = np.zeros((*bits.shape[:-1], len(places)), dtype=np.uint8)
            wide[..., [position for position, _ in kept]] = bits[..., [own for _, own in kept]]
            found[name] = pack(wide)
        return found

    def _append(
        self, index: int, packed: dict[str, NDArray[np.uint8]], count: int, spill: bool, part: int
    ) -> None:
        filled = self._filled[part]
        at = 0
        while at < count and index < self.sets:
            have = int(filled[index])
            size = min(count - at, self.shots - have)
            for name, rows in packed.items():
                self.bits[name][index, have : have + size] |= rows[at : at + size]
            filled[index] = have + size
            at += size
            index += 1
            if not spill:
                break
