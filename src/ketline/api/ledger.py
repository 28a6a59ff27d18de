"""The ledger: its lines as JSON or CSV, its totals, and where a session's time went."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from starlette.responses import Response

from ketline.api.asked import Query, invalid
from ketline.api.money import cost_of, cost_of_all, rates_of
from ketline.api.operations import MOMENT, TEXTS, Call, Operation
from ketline.api.replies import json_reply, moment, pieces_reply
from ketline.service.views import LedgerLine, UsageQuery

_GROUPS = ("instance", "backend", "user_id", "date")
_FILTERS: dict[str, Any] = {
    "instance": TEXTS, "backend": TEXTS, "user_id": TEXTS, "start": MOMENT, "end": MOMENT,
}  # fmt: skip
_LINES = {**_FILTERS, "format": {"type": "string", "enum": ["json", "csv"]}}
_TOTALS = {**_FILTERS, "by": {"type": "string", "enum": list(_GROUPS)}}
_COLUMNS = (
    "number", "instance", "plan", "user_id", "backend", "workload_id", "job_id", "started_at", "ended_at",
    "seconds", "rule",
)  # fmt: skip


async def list_ledger(call: Call) -> Response:
    """The ledger's lines in the order in which they were billed: as JSON, or as CSV with ``format=csv``.

    ``instance`` takes CRNs and names. An administrator sees everything, a manager the instances that the key
    opens, a user their own lines.
    """
    query = Query(call.query, _LINES)
    pages = await call.runtime.ledger(call.who, _wanted(query))
    if query.one_of("format", ("json", "csv")) == "csv":
        return pieces_reply(_csv(call, pages), None, "text/csv")
    return pieces_reply(_json(call, pages), None, "application/json")


async def list_ledger_totals(call: Call) -> Response:
    """Sums of the ledger in seconds, by instance, backend, user or day, split by kind of workload.

    Where the site has rates, each has its `cost`, by the instances' present plans.
    """
    query = Query(call.query, _TOTALS)
    by = query.one_of("by", _GROUPS)
    found = await call.runtime.usage_totals(call.who, _wanted(query), by)
    totals: list[dict[str, Any]] = [
        {
            "group": moment(total.group) if isinstance(total.group, datetime) else total.group,
            "kind": total.kind,
            "count": total.count,
            "seconds": round(total.seconds, 6),
            "longest_seconds": round(total.longest_seconds, 6),
            **cost_of_all(call.settings, total.parts),
        }
        for total in found
    ]
    seconds = round(sum(t["seconds"] for t in totals), 6)
    everything = cost_of_all(call.settings, (part for total in found for part in total.parts))
    return json_reply({"by": by, "seconds": seconds, **everything, "totals": totals})


async def get_session_usage(call: Call) -> Response:
    """Where a session's or batch's time went: on the QPU, classical, idle; and its jobs' price as a batch."""
    split = await call.runtime.session_split(call.who, call.path("id"))
    view = await call.runtime.workload(call.who, call.path("id"))
    plan = (await call.runtime.instance(call.who)).plan
    as_batch = cost_of(call.settings, split.as_batch_seconds, plan, view.backend)
    return json_reply(
        {
            "id": view.workload_id,
            "mode": view.mode.value,
            "active_seconds": round(split.active_seconds, 6),
            "on_qpu_seconds": round(split.on_qpu_seconds, 6),
            "classical_seconds": round(split.classical_seconds, 6),
            "idle_seconds": round(split.idle_seconds, 6),
            "billed_seconds": round(split.billed_seconds, 6),
            "as_batch_seconds": round(split.as_batch_seconds, 6),
            **cost_of(call.settings, split.billed_seconds, plan, view.backend),
            **{f"{name}_as_batch": cost for name, cost in as_batch.items()},
        }
    )


def _wanted(query: Query) -> UsageQuery:
    start, end = query.moment("start"), query.moment("end")
    if start is not None and end is not None and start >= end:
        raise invalid("start", f"it must be before end, and {moment(start)} isn't before {moment(end)}")
    return UsageQuery(
        instances=query.many("instance") or None,
        backends=query.many("backend") or None,
        users=query.many("user_id") or None,
        start=start,
        end=end,
    )


def _shown(line: LedgerLine) -> dict[str, Any]:
    shown = {name: getattr(line, name) for name in _COLUMNS}
    shown["seconds"] = round(line.seconds, 6)
    return {**shown, "started_at": moment(line.started_at), "ended_at": moment(line.ended_at)}


async def _json(call: Call, pages: AsyncIterator[Sequence[LedgerLine]]) -> AsyncIterator[bytes]:
    start = b'{"lines":['
    async for page in pages:
        for line in page:
            cost = cost_of(call.settings, line.seconds, line.plan, line.backend)
            yield start + json_reply({**_shown(line), **cost}).body
            start = b","
    yield (start if start != b"," else b"") + b"]}"


async def _csv(call: Call, pages: AsyncIterator[Sequence[LedgerLine]]) -> AsyncIterator[bytes]:
    rates = rates_of(call.settings)
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow([*_COLUMNS, *(("cost", "currency") if rates.currency else ())])
    async for page in pages:
        for line in page:
            row: list[object] = ["" if value is None else value for value in _shown(line).values()]
            if rates.currency:
                cost = rates.cost(line.seconds, line.plan, line.backend)
                row += ["", ""] if cost is None else [round(cost.amount, 6), cost.currency]
            table.writerow(row)
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()
    yield text.getvalue().encode()


OPERATIONS = (
    Operation("GET", "/ketline/v1/ledger", list_ledger, query=_LINES),
    Operation("GET", "/ketline/v1/ledger/totals", list_ledger_totals, query=_TOTALS),
    Operation("GET", "/ketline/v1/sessions/{id}/usage", get_session_usage),
)
