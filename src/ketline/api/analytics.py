"""Analytics as IBM's service gives them: totals of the ledger in milliseconds (``modes.md`` 6.2, 6.3)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.responses import Response

from ketline.api.asked import Query, invalid
from ketline.api.operations import FLAG, MOMENT, TEXTS, Call, Operation
from ketline.api.replies import json_reply, moment
from ketline.service.views import QueueTotal, UsageQuery, UsageTotal

_FILTERS: dict[str, Any] = {
    "instance": TEXTS, "interval_start": MOMENT, "interval_end": MOMENT, "backend": TEXTS, "user_id": TEXTS,
    "simulators": FLAG, "plan": TEXTS, "subscription_id": TEXTS,
}  # fmt: skip
_GROUPS = ("instance", "backend", "user_id", "plan", "subscription_id")
_GROUPED = {**_FILTERS, "group_by": {"type": "string", "enum": list(_GROUPS)}}
_BY_DATE = {**_FILTERS, "group_by": {"type": "string", "enum": ["instance"]}}
_PERIOD = timedelta(days=28)
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


async def get_usage_analytics(call: Call) -> Response:
    """Totals, counts, averages and maxima of all that was used in an interval."""
    wanted, _ = await _wanted(call, _FILTERS)
    usage = await call.runtime.usage_totals(call.who, wanted)
    queue = await call.runtime.queue_totals(call.who, wanted)
    return json_reply({**_interval(wanted), **_shown(usage, queue)})


async def get_usage_analytics_grouped(call: Call) -> Response:
    """The same by instance, backend, user, plan or subscription."""
    wanted, query = await _wanted(call, _GROUPED)
    by = query.one_of("group_by", _GROUPS)
    if by is None:
        raise invalid("group_by", f"one of {', '.join(_GROUPS)} is expected")
    plain = "instance" if by in ("plan", "subscription_id") else by
    usage: dict[Any, list[UsageTotal]] = defaultdict(list)
    queue: dict[Any, list[QueueTotal]] = defaultdict(list)
    names = await _names(call, by)
    for total in await call.runtime.usage_totals(call.who, wanted, plain):
        usage[names.get(str(total.group), total.group)].append(total)
    for waited in await call.runtime.queue_totals(call.who, wanted, plain):
        queue[names.get(str(waited.group), waited.group)].append(waited)
    data = [{by: group, **_shown(usage[group], queue[group])} for group in sorted({*usage, *queue}, key=str)]
    return json_reply({**_interval(wanted), "group_by": by, "data": data})


async def get_usage_analytics_by_date(call: Call) -> Response:
    """The usage of each instance on each day (UTC)."""
    wanted, query = await _wanted(call, _BY_DATE)
    query.one_of("group_by", ("instance",))
    data = []
    chosen = wanted.instances
    if chosen is None:
        chosen = tuple((await call.runtime.ledger_members(call.who, wanted))["instances"])
    for crn in chosen:
        own = UsageQuery((crn,), wanted.backends, wanted.users, wanted.start, wanted.end)
        days: dict[datetime, list[UsageTotal]] = defaultdict(list)
        queue: dict[datetime, list[QueueTotal]] = defaultdict(list)
        for total in await call.runtime.usage_totals(call.who, own, "date"):
            if isinstance(total.group, datetime):
                days[total.group].append(total)
        for waited in await call.runtime.queue_totals(call.who, own, "date"):
            if isinstance(waited.group, datetime):
                queue[waited.group].append(waited)
        data += [
            {
                "instance": crn,
                "interval_start": moment(day),
                "interval_end": moment(day + timedelta(days=1)),
                **_shown(days[day], queue[day]),
            }
            for day in sorted({*days, *queue})
        ]
    return json_reply({**_interval(wanted), "group_by": "instance", "data": data})


async def get_analytics_filters(call: Call) -> Response:
    """The values that the other analytics may be narrowed to."""
    query = Query(call.query, ("instance",))
    members = await call.runtime.ledger_members(
        call.who, UsageQuery(instances=query.many("instance") or None)
    )
    present = {
        instance.crn for instance in await call.runtime.instances_of(call.who) if not instance.archived
    }
    return json_reply(
        {
            "backends": [{"name": name} for name in members["backends"]],
            "instances": [{"id": crn, "deleted": crn not in present} for crn in members["instances"]],
            "users": [{"id": user} for user in members["users"]],
            "plans": [{"name": plan} for plan in members["plans"]],
            "subscriptions": [],
        }
    )


async def _wanted(call: Call, known: dict[str, Any]) -> tuple[UsageQuery, Query]:
    query = Query(call.query, known)
    if query.many("subscription_id"):
        raise invalid("subscription_id", "there are no subscriptions here; use plan")
    end = query.moment("interval_end") or call.runtime.now()
    start = query.moment("interval_start")
    if start is None:
        if end < _EARLIEST + _PERIOD:
            raise invalid("interval_end", "there is nothing so long ago")
        start = end - _PERIOD
    if start >= end:
        raise invalid("interval_start", "it must be before interval_end")
    instances = query.many("instance") or None
    plans = query.many("plan")
    if plans:
        of_plan = [i.crn for i in await call.runtime.instances_of(call.who) if i.plan in plans]
        instances = tuple(crn for crn in of_plan if instances is None or crn in instances)
    backends: tuple[str, ...] | None = query.many("backend") or None
    if query.flag("simulators") is False:
        real = [b.name for b in await call.runtime.backends(call.who, include_mocks=True) if not b.simulator]
        backends = tuple(name for name in real if backends is None or name in backends)
    return UsageQuery(instances, backends, query.many("user_id") or None, start, end), query


async def _names(call: Call, by: str) -> dict[str, str]:
    """How the groups of the ledger are called: CRNs and plans instead of ids."""
    if by not in ("instance", "plan", "subscription_id"):
        return {}
    if by == "subscription_id":
        raise invalid("group_by", "there are no subscriptions here; use plan")
    return {
        i.instance_id: i.crn if by == "instance" else i.plan
        for i in await call.runtime.instances_of(call.who)
    }


def _interval(wanted: UsageQuery) -> dict[str, Any]:
    return {"interval_start": moment(wanted.start), "interval_end": moment(wanted.end)}


def _shown(usage: Sequence[UsageTotal], queue: Sequence[QueueTotal]) -> dict[str, Any]:
    kinds = {
        "individual_jobs": ("individual_jobs",),
        "batch_sessions": ("batch_sessions",),
        "dedicated_sessions": ("dedicated_sessions",),
        "sessions": ("batch_sessions", "dedicated_sessions"),
        "workloads": ("individual_jobs", "batch_sessions", "dedicated_sessions"),
    }
    shown: dict[str, Any] = {"usage": _milliseconds(sum(total.seconds for total in usage))}
    for name, members in kinds.items():
        of_kind = [total for total in usage if total.kind in members]
        shown[name] = _figures(
            sum(total.count for total in of_kind),
            sum(total.seconds for total in of_kind),
            max((total.longest_seconds for total in of_kind), default=0.0),
        )
    shown["queue_time"] = _figures(
        sum(waited.jobs for waited in queue),
        sum(waited.seconds for waited in queue),
        max((waited.longest_seconds for waited in queue), default=0.0),
    )
    return shown


def _figures(count: int, seconds: float, longest: float) -> dict[str, Any]:
    return {
        "count": count,
        "total": _milliseconds(seconds),
        "average": _milliseconds(seconds / count) if count else 0.0,
        "max": _milliseconds(longest),
    }


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1e3, 3)


OPERATIONS = (
    Operation("GET", "/api/v1/analytics/usage", get_usage_analytics, query=_FILTERS),
    Operation("GET", "/api/v1/analytics/usage_grouped", get_usage_analytics_grouped, query=_GROUPED),
    Operation("GET", "/api/v1/analytics/usage_grouped_by_date", get_usage_analytics_by_date, query=_BY_DATE),
    Operation("GET", "/api/v1/analytics/filters", get_analytics_filters, query={"instance": TEXTS}),
)
