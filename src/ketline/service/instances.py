"""The instances: their plans' figures, and how the outside sees them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from ketline.config import PLAN_FIGURES, InstanceSettings, PlanSettings, Settings
from ketline.core.model import InstanceSpec
from ketline.service import ids
from ketline.service.clock import as_datetime
from ketline.service.views import InstanceView
from ketline.store import tables
from ketline.store.queries import Row

_OF_THE_SPEC = (
    "sessions", "max_ttl_seconds", "interactive_ttl_seconds", "batch_interactive_ttl_seconds",
    "max_execution_seconds", "allocation_seconds", "virtual_allocation_seconds", "limit_seconds",
    "max_pending_jobs",
)  # fmt: skip
"""Figures that the scheduler knows under the same name."""


@dataclass(slots=True)
class Instance:
    """One instance as it is written down."""

    instance_id: str
    crn: str
    name: str
    plan: str
    account_id: str
    region: str
    tags: tuple[str, ...]
    overrides: dict[str, Any]
    archived: bool
    created_at: float

    @classmethod
    def from_row(cls, row: Row | Mapping[str, Any]) -> Instance:
        """Read a row of ``instances``."""
        return cls(
            instance_id=row["instance_id"],
            crn=row["crn"],
            name=row["name"],
            plan=row["plan"],
            account_id=row["account_id"],
            region=row["region"],
            tags=tuple(orjson.loads(row["tags"])),
            overrides=orjson.loads(row["overrides"]),
            archived=row["archived"],
            created_at=row["created_at"],
        )


def instance_row(settings: InstanceSettings, now: float) -> dict[str, Any]:
    """The row of a new instance."""
    instance_id = ids.workload_id()
    return {
        "instance_id": instance_id,
        "crn": ids.crn(settings.region, settings.account, instance_id),
        "name": settings.name,
        "plan": settings.plan,
        "account_id": settings.account,
        "region": settings.region,
        "tags": orjson.dumps(settings.tags).decode(),
        "overrides": orjson.dumps(overrides_of(settings)).decode(),
        "archived": False,
        "created_at": now,
    }


def overrides_of(settings: InstanceSettings) -> dict[str, Any]:
    """What an instance's settings say that its plan doesn't; None lifts a limit of the plan."""
    found = {name: getattr(settings, name) for name in PLAN_FIGURES if name in settings.model_fields_set}
    if settings.qpus is not None:
        found["qpus"] = list(settings.qpus)
    return found


class Instances:
    """All instances, by id and by CRN."""

    def __init__(self, settings: Settings) -> None:
        self._plans = settings.all_plans()
        self._server = settings.server
        self._accounts = settings.accounts
        self._by_id: dict[str, Instance] = {}
        self._by_crn: dict[str, Instance] = {}

    def add(self, instance: Instance) -> None:
        """Know an instance, or know it anew."""
        self._by_id[instance.instance_id] = instance
        self._by_crn[instance.crn] = instance

    def all(self) -> Iterable[Instance]:
        """All instances, in the order in which they became known."""
        return self._by_id.values()

    def get(self, instance_id: str) -> Instance | None:
        """An instance by its id."""
        return self._by_id.get(instance_id)

    def by_crn(self, crn: str) -> Instance | None:
        """An instance by its CRN."""
        return self._by_crn.get(crn)

    def plan(self, instance: Instance) -> PlanSettings:
        """The plan that an instance is on; one that the configuration lost counts as ``premium``."""
        return self._plans.get(instance.plan) or self._plans["premium"]

    def figure(self, instance: Instance, name: str) -> Any:
        """A figure of the instance: its own, or its plan's."""
        if name in instance.overrides:
            return instance.overrides[name]
        return getattr(self.plan(instance), name)

    def spec(self, instance: Instance) -> InstanceSpec:
        """What the scheduler needs to know."""
        stops = self.figure(instance, "limit_stops_running")
        qpus = instance.overrides.get("qpus")
        account = self._accounts.get(instance.account_id)
        return InstanceSpec(
            instance_id=instance.instance_id,
            plan=instance.plan,
            account_id=instance.account_id,
            account_allocation_seconds=None if account is None else account.allocation_seconds,
            limit_stops_running=stops,
            limit_lets_finish=self._server.cost_limit_policy == "finish",
            window_seconds=self.window_seconds(instance),
            open_session_as_jobs=self._server.open_session_policy == "job-mode",
            archived=instance.archived,
            qpus=None if qpus is None else frozenset(qpus),
            **{name: self.figure(instance, name) for name in _OF_THE_SPEC},
        )

    def window_seconds(self, instance: Instance) -> float | None:
        """The rolling window of usage; None when the whole contract counts."""
        if self.figure(instance, "contract"):
            return None
        window: float | None = self.figure(instance, "window_seconds")
        return window

    def view(self, instance: Instance, now: float, consumed_seconds: float) -> InstanceView:
        """An instance as the outside sees it, with what it used inside its window."""
        plan = self.plan(instance)
        window = self.window_seconds(instance)
        return InstanceView(
            instance_id=instance.instance_id,
            crn=instance.crn,
            name=instance.name,
            plan=instance.plan,
            plan_id=plan_id(instance.plan),
            account=instance.account_id,
            region=instance.region,
            tags=instance.tags,
            pricing_type=plan.pricing_type,
            plan_display_name=plan.display_name or instance.plan,
            allocation_seconds=self.figure(instance, "allocation_seconds"),
            limit_seconds=self.figure(instance, "limit_seconds"),
            consumed_seconds=consumed_seconds,
            period_start=as_datetime(instance.created_at if window is None else now - window),
            period_end=as_datetime(now),
            archived=instance.archived,
        )


def plan_id(plan: str) -> str:
    """The id under which the catalog knows a plan."""
    return str(ids.named("plan", plan))


def overrides_update(instance: Instance) -> sa.Update:
    """Write an instance's own figures down."""
    return (
        sa.update(tables.instances)
        .where(tables.instances.c.instance_id == instance.instance_id)
        .values(overrides=orjson.dumps(instance.overrides).decode())
    )
