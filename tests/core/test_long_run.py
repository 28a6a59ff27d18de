"""Fairness in the long run: backlogged instances get QPU time in proportion to their allocations (F01)."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest
from virtual_centre import VirtualCentre

from ketline.core.model import Mode

ALLOCATIONS = {"a": 1_000.0, "b": 2_000.0, "c": 3_000.0, "d": 4_000.0}
PATIENCE = 4  # workloads that an instance always has waiting


def jain(shares: list[float]) -> float:
    """Jain's index: 1 when all shares are equal, 1/n when one has everything."""
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))


class Backlog:
    """Instances that always have work waiting: jobs of very unequal lengths, batches, sessions."""

    def __init__(self, seed: int, kinds: dict[str, tuple[str, ...]], accounts: dict[str, str]) -> None:
        self.dice = random.Random(seed)
        self.kinds = kinds
        self.c = VirtualCentre(checking=False, keep_log=False)
        self.c.qpu("q")
        for name, allocation in ALLOCATIONS.items():
            self.c.instance(
                name, allocation_seconds=allocation, account_id=accounts[name], window_seconds=20_000.0,
                interactive_ttl_seconds=5.0,
            )  # fmt: skip
        self.count = 0

    def work(self) -> dict[str, float]:
        """Heavy-tailed: most jobs take a second or two, a few a hundred."""
        run = min(self.dice.paretovariate(1.2), 100.0)
        return {
            "prep": self.dice.uniform(0.1, 1.0),
            "run": run,
            "estimate": self.dice.uniform(0.3, 3.0) * run,
        }

    def add(self, instance: str) -> None:
        kind = self.dice.choice(self.kinds[instance])
        self.count += 1
        if kind == "job":
            self.c.submit(f"j{self.count}", instance=instance, **self.work())
            return
        name = f"w{self.count}"
        self.c.open(name, Mode.BATCH if kind == "batch" else Mode.SESSION, instance=instance)
        for index in range(self.dice.randint(1, 8)):
            self.c.submit(f"j{self.count}-{index}", to=name, instance=instance, **self.work())
        self.c.close(name)

    def waiting(self, instance: str) -> int:
        """How many jobs, batches and sessions of an instance haven't been selected yet."""
        pool = self.c.scheduler._c.qpus["q"].pool
        return len(pool._singles.get(instance, ())) + len(pool._groups.get(instance, ()))

    def run(self, seconds: float) -> dict[str, float]:
        """Usage of each instance."""
        while self.c.t < seconds:
            for name in ALLOCATIONS:
                while self.waiting(name) < PATIENCE:
                    self.add(name)
            self.c.until(self.c._agenda[0][0])
        used: dict[str, float] = defaultdict(float)
        for line in self.c.bills:
            used[line.instance_id] += line.seconds
        self.c.scheduler.check()
        return used


ALL = ("job", "job", "job", "batch", "session")


@pytest.mark.parametrize(
    ("kinds", "accounts"),
    [
        (dict.fromkeys(ALLOCATIONS, ("job",)), dict.fromkeys(ALLOCATIONS, "one")),
        (dict.fromkeys(ALLOCATIONS, ALL), dict.fromkeys(ALLOCATIONS, "one")),
        (
            {"a": ("session",), "b": ("job",), "c": ("batch",), "d": ALL},
            {"a": "one", "b": "one", "c": "two", "d": "two"},
        ),
    ],
    ids=["jobs", "mixed", "accounts"],
)
def test_f01_backlogged_instances_get_time_in_proportion_to_their_allocations(
    kinds: dict[str, tuple[str, ...]], accounts: dict[str, str]
) -> None:
    used = Backlog(7, kinds, accounts).run(100_000.0)
    total, allocated = sum(used.values()), sum(ALLOCATIONS.values())
    shares = [used[name] / allocation for name, allocation in ALLOCATIONS.items()]
    print(f"Jain's index {jain(shares):.6f}", {name: round(used[name] / total, 4) for name in ALLOCATIONS})
    for name, allocation in ALLOCATIONS.items():
        assert used[name] / total == pytest.approx(allocation / allocated, rel=0.02)
    assert jain(shares) > 0.9995
