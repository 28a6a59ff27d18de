"""From Aer's counts to packed bits.

The shots of one circuit are independent draws from one distribution, so any order of them is as good as
another: counts in random order are shots.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    """Shots of one item, collected piece by piece.

    Args:
        registers: the classical registers by name, as places of their bits.
        num_bits: classical bits of the circuit.
        sets: parameter sets.
        shots: shots of each.
    """

    def __init__(self, registers: Mapping[str, list[int]], num_bits: int, sets: int, shots: int) -> None:
        self.registers = registers
        self.num_bits = num_bits
        self.sets = sets
        self.shots = shots
        self.bits = {
            name: np.zeros((sets, shots, (len(places) + 7) // 8), dtype=np.uint8)
            for name, places in registers.items()
        }
        self._filled = np.zeros(sets, dtype=np.int64)

    def next_open(self, first: int) -> int:
        """The first set from ``first`` on that lacks shots."""
        return first + int(np.argmax(self._filled[first:] < self.shots))

    def add(
        self, index: int, counts: Mapping[str, int], rng: np.random.Generator, *, spill: bool, links: int
    ) -> None:
        """Append counts to one set, in random order; what it doesn't need goes on in the next, or is dropped.

        Args:
            index: the set.
            counts: how often each hexadecimal memory was seen.
            rng: randomness.
            spill: whether shots beyond the set's go to the next.
            links: consecutive shots in one memory, first ones lowest.
        """
        table = parse(list(counts), self.num_bits * links)
        picks = np.repeat(np.arange(len(table)), np.fromiter(counts.values(), np.int64, len(counts)))
        rng.shuffle(picks)
        if links > 1:
            table = in_order(table, links)
            picks = (picks[:, None] * links + np.arange(links)).ravel()
        self.add_rows(index, table, picks, spill)

    def add_rows(
        self, index: int, table: NDArray[np.uint8], picks: NDArray[Any], spill: bool = False
    ) -> None:
        """Append the rows ``picks`` of a table of bits to one set, as `add` does."""
        packed = {name: pack(table[:, places]) for name, places in self.registers.items()}
        at = 0
        while at < len(picks) and index < self.sets:
            have = int(self._filled[index])
            piece = picks[at : at + self.shots - have]
            for name, rows in packed.items():
                self.bits[name][index, have : have + len(piece)] = rows[piece]
            self._filled[index] = have + len(piece)
            at += len(piece)
            index += 1
            if not spill:
                break
