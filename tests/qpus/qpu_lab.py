"""Circuits, runs and statistics that the tests of QPUs share."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from scipy import stats

from ketline.config import QpuSettings
from ketline.qpus.counts import unpack
from ketline.qpus.emulator import Emulator
from ketline.units.device import Device
from ketline.units.work import ItemOutcome, Outcome, WorkItem, WorkUnit

FIVE_SIGMA = 5.7e-7


@cache
def settings(device: str = "manila", seed: int = 11, **more: float) -> QpuSettings:
    return QpuSettings(name=f"ket_{device}", device=device, seed=seed, **more)


@cache
def device(name: str) -> Device:
    return Emulator.device(settings(name))


@cache
def emulator(name: str = "manila", **more: float) -> Emulator:
    return Emulator(device(name), settings(name, **more))


def run(unit: WorkUnit, on: Emulator | None = None) -> Outcome:
    qpu = on or emulator()
    handle = qpu.start(unit)
    while qpu.poll(handle).state != "done":
        pass
    return qpu.outcome(handle)


def item(circuit: QuantumCircuit, shots: int = 1000, values: object = None, **more: int) -> WorkItem:
    given = np.zeros((1, 0)) if values is None else np.asarray(values, dtype=np.float64)
    return WorkItem(circuit, given, shots, **more)


def numbers(outcome: ItemOutcome, register: str, size: int) -> NDArray[np.int64]:
    """The values of a register as whole numbers, shape ``(n_sets, shots)``."""
    bits = unpack(outcome.bits[register], size).astype(np.int64)
    return bits @ (1 << np.arange(size))


def histogram(values: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    return np.bincount(np.ravel(values), minlength=2**size)


def fits(observed: NDArray[np.int64], probabilities: NDArray[np.float64]) -> bool:
    """Whether counts come from a distribution, unless something of five sigma happened."""
    expected = probabilities * observed.sum()
    often = expected >= 5
    seen = np.append(observed[often], observed[~often].sum())
    wanted = np.append(expected[often], expected[~often].sum())
    if wanted[-1] < 1e-9:
        assert seen[-1] == 0
        seen, wanted = seen[:-1], wanted[:-1]
    elif wanted[-1] < 5:
        seen = np.append(seen[:-2], seen[-2] + seen[-1])
        wanted = np.append(wanted[:-2], wanted[-2] + wanted[-1])
    if len(seen) < 2:
        return True
    return bool(stats.chisquare(seen, wanted * seen.sum() / wanted.sum()).pvalue > FIVE_SIGMA)


def same(a: NDArray[np.int64], b: NDArray[np.int64]) -> bool:
    """Whether two histograms come from one distribution, unless something of five sigma happened."""
    both = a + b
    often = both >= 10
    table = np.stack([np.append(a[often], a[~often].sum()), np.append(b[often], b[~often].sum())])
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return True
    return bool(stats.chi2_contingency(table).pvalue > FIVE_SIGMA)
