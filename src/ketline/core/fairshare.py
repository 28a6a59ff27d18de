"""Who is next: accounts, then instances by least usage relative to allocation, then oldest first.

``modes.md`` 5.1. Usage on all QPUs counts, over each instance's window. What leaves the window leaves the
ratio by itself: each line of the ledger is looked at twice in its life, never scanned for.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from contextlib import closing
from math import inf

from ketline.core.model import InstanceSpec
from ketline.core.ranking import Key, Ranking
from ketline.core.usage import Meter

EXPIRIES_AT_ONCE = 64
SEARCH_DEPTH = 32
"""How many instances are asked for work that fits before a window; each costs some 10 us."""

DIGITS = 12
"""Ratios that differ by less than rounding errors are a tie, and ties go to the oldest."""


class Account:
    """The upper level: its own allocation, or the sum of its instances'.

    ``given`` is what instances say of the account's allocation; should they disagree, the largest counts.
    """

    __slots__ = ("given", "meter", "summed")

    def __init__(self) -> None:
        self.meter = Meter(None)
        self.given: dict[str, float] = {}
        self.summed = 0.0

    def ratio(self, now: float, more: float = 0.0) -> float:
        """Usage, and ``more`` that is to be charged, relative to allocation."""
        allocation = max(self.given.values()) if self.given else self.summed
        return round((self.meter.weight(now) + more) / allocation, DIGITS) if allocation > 0 else inf


class Share:
    """One instance's part: its spec, its meter, whether its limit holds it."""

    __slots__ = ("account", "allocation", "held", "meter", "spec")

    def __init__(self, spec: InstanceSpec, account: Account, meter: Meter | None = None) -> None:
        self.spec = spec
        self.account = account
        self.meter = Meter(spec.window_seconds, account.meter) if meter is None else meter
        self.held = False
        self.allocation = allocation_of(spec)

    def ratio(self, now: float, more: float = 0.0) -> float:
        """Usage, and ``more`` that is to be charged, relative to allocation; without any, last of all."""
        allocation = self.allocation
        return round((self.meter.weight(now) + more) / allocation, DIGITS) if allocation > 0 else inf


def allocation_of(spec: InstanceSpec) -> float:
    """The instance's weight: its allocation, or its plan's virtual one."""
    return spec.virtual_allocation_seconds if spec.allocation_seconds is None else spec.allocation_seconds


OnShrink = Callable[[Share, float, float], None]


class FairShare:
    """The usage of all instances and accounts.

    ``on_shrink`` is told of every share whose ratio, or whose account's ratio, became smaller, with both,
    since rankings look for growth only. ``now`` is the time at which ratios are taken.
    """

    def __init__(self, on_shrink: OnShrink) -> None:
        self.now = 0.0
        self.shares: dict[str, Share] = {}
        self.accounts: dict[str, Account] = {}
        self._on_shrink = on_shrink
        self._expiries: list[tuple[float, str]] = []
        self.watched: dict[str, tuple[float, float]] = {}

    def register(self, spec: InstanceSpec) -> None:
        """Take in an instance, or its changed figures; what it used stays counted."""
        account = self.accounts.setdefault(spec.account_id, Account())
        share = self.shares.get(spec.instance_id)
        if share is None:
            share = self.shares[spec.instance_id] = Share(spec, account)
        else:
            if share.account is not account:
                raise ValueError(f"instance {spec.instance_id}: an instance can't move to another account")
            account.summed -= share.allocation
            share.spec, share.allocation = spec, allocation_of(spec)
            if share.meter.window_seconds != spec.window_seconds:
                self._bill_anew(spec.instance_id, share.meter.rewindow(spec.window_seconds))
        account.summed += share.allocation
        if spec.account_allocation_seconds is None:
            account.given.pop(spec.instance_id, None)
        else:
            account.given[spec.instance_id] = spec.account_allocation_seconds

    def recall(self, instance_id: str, before: float, past: Iterable[tuple[float, float]]) -> None:
        """Take over what the ledger holds from before a time, instead of what is known of it here.

        Windows that become longer hold usage again that has left them, which isn't known here any more.
        """
        meter = self.shares[instance_id].meter
        kept = [line for line in meter.rewindow(meter.window_seconds) if line[0] >= before]
        self._bill_anew(instance_id, (*past, *kept))

    def _bill_anew(self, instance_id: str, lines: Iterable[tuple[float, float]]) -> None:
        """Count those of the lines that are inside the window."""
        window = self.shares[instance_id].meter.window_seconds
        for at, seconds in lines:
            if window is None or at + window > self.now:
                self.bill(instance_id, at, seconds)

    def watch(self, instance_id: str) -> None:
        """Something is about to make an instance's ratio smaller, for a moment at least: remember it."""
        if instance_id not in self.watched:
            share = self.shares[instance_id]
            self.watched[instance_id] = share.ratio(self.now), share.account.ratio(self.now)

    def look(self) -> None:
        """Tell of the watched instances whose ratio, or whose account's, did become smaller."""
        watched, self.watched = self.watched, {}
        for instance_id, (own, of_account) in watched.items():
            share = self.shares[instance_id]
            ratio, ratio_of_account = share.ratio(self.now), share.account.ratio(self.now)
            if ratio < own or ratio_of_account < of_account:
                self._on_shrink(share, ratio, ratio_of_account)

    def bill(self, instance_id: str, at: float, seconds: float) -> None:
        """Count a line of the ledger."""
        meter = self.shares[instance_id].meter
        before = meter.next_expiry()
        meter.bill(at, seconds)
        expiry = meter.next_expiry()
        if expiry is not None and (before is None or expiry < before):
            heapq.heappush(self._expiries, (expiry, instance_id))

    def advance(self, now: float) -> list[str]:
        """Let time pass; returns the instances whose usage left their window.

        A few at a time: when very much expires at once, the rest follows with the next events.
        """
        self.now = now
        touched: list[str] = []
        for _ in range(EXPIRIES_AT_ONCE):
            if not self._expiries or self._expiries[0][0] > now:
                break
            _, instance_id = heapq.heappop(self._expiries)
            meter = self.shares[instance_id].meter
            expiry = meter.next_expiry()
            if expiry is None:
                continue
            if expiry <= now:
                self.watch(instance_id)
                meter.expire_one()
                touched.append(instance_id)
                expiry = meter.next_expiry()
            if expiry is not None:
                heapq.heappush(self._expiries, (expiry, instance_id))
        return touched

    def copy(self, on_shrink: OnShrink) -> FairShare:
        """An independent twin."""
        twin = FairShare(on_shrink)
        twin.now = self.now
        twin._expiries = list(self._expiries)
        twin.watched = dict(self.watched)
        for account_id, account in self.accounts.items():
            other = twin.accounts[account_id] = Account()
            other.meter = account.meter.copy(None)
            other.given, other.summed = dict(account.given), account.summed
        for instance_id, share in self.shares.items():
            account = twin.accounts[share.spec.account_id]
            other_share = Share(share.spec, account, share.meter.copy(account.meter))
            other_share.held = share.held
            twin.shares[instance_id] = other_share
        return twin


class Line:
    """Who is next among the instances that have something of one kind waiting at one QPU.

    ``head`` gives the age (sequence number) of an instance's oldest, None when it has nothing.
    """

    __slots__ = ("_accounts", "_fair", "_head", "_members")

    def __init__(self, fair: FairShare, head: Callable[[str], int | None]) -> None:
        self._fair = fair
        self._head = head
        self._accounts = Ranking(self._account_key, self._account_ratio)
        self._members: dict[str, Ranking] = {}

    def copy_from(self, other: Line) -> None:
        """Take over the ranking of another centre's line, in which the same waits."""
        self._accounts.copy_from(other._accounts)
        for account_id, members in other._members.items():
            self._members[account_id] = Ranking(self._instance_key, self._instance_ratio)
            self._members[account_id].copy_from(members)

    def _instance_ratio(self, instance_id: str) -> float:
        return self._fair.shares[instance_id].ratio(self._fair.now)

    def _account_ratio(self, account_id: str) -> float:
        return self._fair.accounts[account_id].ratio(self._fair.now)

    def _instance_key(self, instance_id: str) -> Key | None:
        share = self._fair.shares[instance_id]
        age = None if share.held else self._head(instance_id)
        return None if age is None else (share.ratio(self._fair.now), age)

    def _account_key(self, account_id: str) -> Key | None:
        best = self._members[account_id].best()
        if best is None:
            return None
        return (self._fair.accounts[account_id].ratio(self._fair.now), *best[0])

    def touch(self, instance_id: str) -> None:
        """Something of the instance is new here, or its ratio became smaller."""
        account_id = self._fair.shares[instance_id].spec.account_id
        members = self._members.get(account_id)
        if members is None:
            if self._head(instance_id) is None:
                return
            members = self._members[account_id] = Ranking(self._instance_key, self._instance_ratio)
        members.touch(instance_id)
        self._accounts.touch(account_id)

    def shrunk(self, share: Share, ratio: float, of_account: float) -> None:
        """An instance's or its account's ratio became smaller: lower the bounds of what waits here."""
        account_id = share.spec.account_id
        members = self._members.get(account_id)
        if members is None:
            return
        recorded = members.recorded(share.spec.instance_id)
        if recorded is not None:
            members.lower(share.spec.instance_id, (ratio, recorded[1]))
        floor = members.floor()
        if floor is not None:
            self._accounts.lower(account_id, (of_account, *floor))

    def first_of(self, instance_id: str) -> Key | None:
        """The key of one instance here, None when nothing of it may be taken."""
        return self._instance_key(instance_id)

    def best(self, accept: Callable[[str], bool] | None = None) -> tuple[Key, str] | None:
        """The next instance, with its key (account's ratio, own ratio, age of its oldest).

        With ``accept``, the first one that it accepts; those before keep their place. It is asked about
        the first `SEARCH_DEPTH` instances at most.
        """
        if accept is not None:
            return self._best_accepted(accept)
        first = self._accounts.best()
        if first is None:
            return None
        key, account_id = first
        best = self._members[account_id].best()
        return None if best is None else (key, best[1])

    def _best_accepted(self, accept: Callable[[str], bool]) -> tuple[Key, str] | None:
        asked = 0
        with closing(self._accounts.in_order()) as accounts:
            for account_id in accounts:
                ratio = self._fair.accounts[account_id].ratio(self._fair.now)
                with closing(self._members[account_id].in_order()) as members:
                    for instance_id in members:
                        key = self._instance_key(instance_id)
                        if key is not None and accept(instance_id):
                            return (ratio, *key), instance_id
                        asked += 1
                        if asked == SEARCH_DEPTH:
                            return None
        return None
