"""The ledger as the outside reads it: totals, waiting times, lines, and where a session's time went."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from typing import Any, cast

from ketline.errors import INSTANCE_NOT_FOUND, SESSION_NOT_FOUND, KetlineError
from ketline.service.clock import as_datetime
from ketline.service.house import House
from ketline.service.instances import Instance
from ketline.service.records import workload_from_row
from ketline.service.splitting import split
from ketline.service.views import (
    InstanceView,
    LedgerLine,
    Principal,
    QueueTotal,
    SessionSplit,
    UsagePart,
    UsageQuery,
    UsageTotal,
    WorkloadView,
)
from ketline.store import ledger as book
from ketline.store import queries
from ketline.store.queries import Row


class LedgerDoor:
    """The part of `ketline.service.facade.Runtime` that is about the ledger.

    An administrator sees everything, a manager the instances that the key opens, a user what is their own
    in the instance that they are in.
    """

    _house: House

    async def workload(self, principal: Principal, workload_id: str) -> WorkloadView:
        """One session or batch."""
        raise NotImplementedError

    async def usage_totals(
        self, principal: Principal, wanted: UsageQuery, by: str | None = None
    ) -> Sequence[UsageTotal]:
        """Sums of the ledger by ``instance``, ``backend``, ``user_id`` or ``date`` (UTC), or of all."""
        query = await self._query(principal, wanted)
        group = cast("book.GroupBy | None", by)
        found = await self._house.store.read(book.totals, query, group)
        parts = await self._parts(query, group)
        return [
            UsageTotal(
                _group(by, t.group),
                t.kind,
                t.count,
                t.seconds,
                t.longest_seconds,
                tuple(parts.get((t.group, t.kind), ())),
            )
            for t in found
        ]

    async def _parts(
        self, query: book.LedgerQuery, by: book.GroupBy | None
    ) -> dict[tuple[str | float | None, str], list[UsagePart]]:
        """What each total consists of, where that has a price."""
        found: dict[tuple[str | float | None, str], list[UsagePart]] = {}
        if self._house.settings.money is not None:
            for part in await self._house.store.read(book.parts, query, by):
                instance = self._instance(part.instance_id)
                priced = UsagePart(instance.plan if instance else "", part.qpu_id, part.seconds)
                found.setdefault((part.group, part.kind), []).append(priced)
        return found

    async def usage_of(self, view: InstanceView) -> Sequence[UsagePart]:
        """What an instance used on each QPU in its present period; nothing where usage has no price."""
        since = view.period_start.timestamp()
        query = book.LedgerQuery(instances=(view.instance_id,), start=since)
        return [part for parts in (await self._parts(query, None)).values() for part in parts]

    async def queue_totals(
        self, principal: Principal, wanted: UsageQuery, by: str | None = None
    ) -> Sequence[QueueTotal]:
        """How long jobs waited, in the same groups."""
        query = await self._query(principal, wanted)
        found = await self._house.store.read(book.queue_times, query, cast("book.GroupBy | None", by))
        return [QueueTotal(_group(by, t.group), t.jobs, t.seconds, t.longest_seconds) for t in found]

    async def ledger_members(self, principal: Principal, wanted: UsageQuery) -> dict[str, list[str]]:
        """The ``instances`` (CRNs), ``backends``, ``users`` and ``plans`` that the ledger knows."""
        query = await self._query(principal, wanted)
        found = await self._house.store.read(book.members, query.instances)
        known = [self._instance(instance_id) for instance_id in found["instances"]]
        users = [u for u in found["users"] if query.users is None or u in query.users]
        return {
            "instances": [instance.crn for instance in known if instance is not None],
            "backends": found["backends"],
            "users": users,
            "plans": sorted({instance.plan for instance in known if instance is not None}),
        }

    async def ledger(self, principal: Principal, wanted: UsageQuery) -> AsyncIterator[Sequence[LedgerLine]]:
        """The ledger's lines in the order in which they were billed, in pages."""
        return self._pages(await self._query(principal, wanted))

    async def _pages(self, query: book.LedgerQuery) -> AsyncIterator[Sequence[LedgerLine]]:
        after: int | None = 0
        while after is not None:
            rows, after = await self._house.store.read(_page, query, after)
            if rows:
                yield [self._line(row) for row in rows]

    async def session_split(self, principal: Principal, workload_id: str) -> SessionSplit:
        """Where a session's or batch's time went; SESSION_NOT_FOUND."""
        await self.workload(principal, workload_id)
        engine = self._house.engine
        noun = engine.scheduler.workloads.get(workload_id)
        if noun is not None:
            return split(noun, engine.scheduler.jobs_of(workload_id), self._house.clock.now())
        await engine.durable()
        row = await self._house.store.read_row(queries.workload, workload_id)
        if row is None:
            raise KetlineError(SESSION_NOT_FOUND, workload_id=workload_id)
        return split(workload_from_row(row), (), self._house.clock.now())

    async def _query(self, principal: Principal, wanted: UsageQuery) -> book.LedgerQuery:
        allowed = await self._allowed(principal)
        instances = None if allowed is None else tuple(allowed)
        if wanted.instances is not None:
            named = [self._instance_named(name) for name in wanted.instances]
            for instance, name in zip(named, wanted.instances, strict=True):
                if instance is None or (allowed is not None and instance.instance_id not in allowed):
                    raise KetlineError(INSTANCE_NOT_FOUND, instance=name)
            instances = tuple(instance.instance_id for instance in named if instance is not None)
        users = wanted.users
        if principal.role == "user":
            users = (principal.user_id,) if users is None or principal.user_id in users else ()
        return book.LedgerQuery(
            instances=instances,
            backends=wanted.backends,
            users=users,
            start=None if wanted.start is None else wanted.start.timestamp(),
            end=None if wanted.end is None else wanted.end.timestamp(),
        )

    async def _allowed(self, principal: Principal) -> set[str] | None:
        """The ids of the instances that the principal may read of; None for all."""
        if principal.role == "administrator":
            return None
        if principal.role == "user":
            return {principal.instance_id}
        house = self._house
        return {
            instance.instance_id
            for instance in list(house.instances.all())
            if await house.keyring.enter(principal, instance.instance_id) is not None
        }

    def _instance(self, instance_id: str) -> Instance | None:
        return self._house.instances.get(instance_id)

    def _instance_named(self, name: str) -> Instance | None:
        house = self._house
        found = house.instances.by_crn(name)
        return found or next((i for i in house.instances.all() if name in (i.name, i.instance_id)), None)

    def _line(self, row: Row) -> LedgerLine:
        instance = self._instance(row["instance_id"])
        return LedgerLine(
            number=row["number"],
            instance_id=row["instance_id"],
            instance=instance.name if instance else row["instance_id"],
            plan=instance.plan if instance else "",
            user_id=row["user_id"],
            backend=row["qpu_id"],
            workload_id=row["workload_id"],
            job_id=row["job_id"],
            started_at=as_datetime(row["started_at"]),
            ended_at=as_datetime(row["ended_at"]),
            seconds=row["seconds"],
            rule=row["rule"],
        )


def _page(connection: Any, query: book.LedgerQuery, after: int) -> tuple[Sequence[Row], int | None]:
    """One page of lines, and the number to go on after; None at the end."""
    size = 1_000
    pages: Iterator[Sequence[Row]] = book.lines(connection, query, size, after)
    rows = next(pages, [])
    return rows, rows[-1]["number"] if len(rows) == size else None


def _group(by: str | None, group: str | float | None) -> str | datetime | None:
    return as_datetime(float(group)) if by == "date" and group is not None else cast("str | None", group)
