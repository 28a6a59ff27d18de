"""What administering writes down: keys, instances, and the trail of who did it. Shared by all doors."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa
from pydantic import ValidationError

from ketline.config import PLAN_FIGURES, InstanceSettings, PlanSettings
from ketline.errors import INVALID_REQUEST, KetlineError
from ketline.problems import problem
from ketline.service import instances, keys
from ketline.service.instances import Instance
from ketline.service.views import Principal
from ketline.store import tables
from ketline.store.changes import Changes
from ketline.store.queries import Row


@dataclass(frozen=True, slots=True)
class Actor:
    """Who administers: a user by one of their keys, or the command line on the server's own machine."""

    name: str
    key_id: str = ""

    @classmethod
    def of(cls, principal: Principal) -> Actor:
        """The actor that a principal is."""
        return cls(principal.user_id, principal.key_id)


COMMAND_LINE = Actor("command line")


def record(
    changes: Changes, actor: Actor, action: str, subject: str, facts: Mapping[str, Any], now: float
) -> None:
    """Add to the audit trail. ``facts`` must hold no secret."""
    changes.call(
        sa.insert(tables.audit).values(
            at=now,
            actor=actor.name,
            key_id=actor.key_id,
            action=action,
            subject=subject[:200],
            facts=orjson.dumps(dict(facts)).decode(),
        )
    )


def new_key(
    changes: Changes,
    users: Sequence[Row],
    pepper: bytes,
    user: str,
    name: str,
    role: str,
    opened: Mapping[str, str],
    actor: Actor,
    now: float,
) -> tuple[str, str]:
    """Make a key, and its user if there is none of the name. Returns the key's id and the key itself.

    Should another process make the same user before this is written, the key belongs to nobody.
    ``opened`` maps the names of the instances that it opens to their ids; empty means all.
    """
    if role not in keys.ROLES:
        raise refused("role", f"{role!r} isn't one of {', '.join(keys.ROLES)}")
    if not user or len(user) > 100:
        raise refused("user", "a name of 1 to 100 characters is expected")
    if len(name) > 100:
        raise refused("name", f"it may have 100 characters, and has {len(name)}")
    known = {row["name"]: row for row in users}
    if user in known:
        user_id, kept = known[user]["user_id"], known[user]["role"]
        if kept != role:
            raise refused("role", f"the user {user!r} has the role {kept!r} already")
    else:
        user_id = str(uuid.uuid4())
        made = {"user_id": user_id, "name": user, "role": role, "created_at": now}
        changes.call(_unless_named(tables.users, made))
    key_id, secret, text = keys.make_secret()
    row = keys.key_row(key_id, user_id, name, keys.hashed(secret, pepper), tuple(opened.values()), now)
    changes.call(sa.insert(tables.keys).values(**row))
    facts = {"user": user, "role": role, "name": name, "instances": sorted(opened)}
    record(changes, actor, "keys.create", key_id, facts, now)
    return key_id, text


def revoked_key(changes: Changes, key_id: str, actor: Actor, now: float) -> None:
    """Revoke a key for good."""
    changes.call(
        sa.update(tables.keys)
        .where(tables.keys.c.key_id == key_id, tables.keys.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    record(changes, actor, "keys.revoke", key_id, {}, now)


def new_instance(
    changes: Changes,
    wanted: InstanceSettings,
    taken: Sequence[str],
    plans: Mapping[str, PlanSettings],
    actor: Actor,
    now: float,
) -> dict[str, Any]:
    """Make an instance; returns its row. INVALID_REQUEST if the name is taken or the plan unknown.

    Should another process take the name before this is written, there is no such instance.
    """
    check_plan(wanted.plan, plans)
    if wanted.name in taken:
        raise refused("name", f"there is an instance {wanted.name!r} already")
    row = instances.instance_row(wanted, now)
    changes.call(_unless_named(tables.instances, row))
    facts = wanted.model_dump(mode="json", exclude_unset=True)
    record(changes, actor, "instances.create", wanted.name, facts, now)
    return row


def changed_instance(
    changes: Changes,
    instance: Instance,
    given: Mapping[str, Any],
    plans: Mapping[str, PlanSettings],
    actor: Actor,
    now: float,
) -> Instance:
    """Change an instance's plan, tags, QPUs, figures or whether it is archived; returns it as it is then.

    A figure that is null goes back to the plan's.
    """
    figures = {name: value for name, value in given.items() if name in PLAN_FIGURES}
    kept = {name: value for name, value in instance.overrides.items() if name not in figures}
    own = {name: value for name, value in figures.items() if value is not None}
    plan = given.get("plan", instance.plan)
    settings = settings_of({"name": instance.name, "plan": plan, **_plain(given), **own})
    check_plan(settings.plan, plans)
    overrides = {**kept, **{name: getattr(settings, name) for name in own}}
    if "qpus" in given:
        if settings.qpus == ():
            raise refused("qpus", "an instance without a QPU can do nothing; null allows all")
        overrides.pop("qpus", None)
        if settings.qpus is not None:
            overrides["qpus"] = list(settings.qpus)
    if "limit_seconds" in figures:
        overrides["limit_was_set"] = True
    archived = given.get("archived", instance.archived)
    changed = Instance(
        instance_id=instance.instance_id,
        crn=instance.crn,
        name=instance.name,
        plan=settings.plan,
        account_id=instance.account_id,
        region=instance.region,
        tags=settings.tags if "tags" in given else instance.tags,
        overrides=overrides,
        archived=archived,
        created_at=instance.created_at,
    )
    changes.call(
        sa.update(tables.instances)
        .where(tables.instances.c.instance_id == instance.instance_id)
        .values(
            plan=changed.plan,
            tags=orjson.dumps(changed.tags).decode(),
            overrides=orjson.dumps(overrides).decode(),
            archived=archived,
        )
    )
    record(changes, actor, "instances.change", instance.name, given, now)
    return changed


def _unless_named(table: sa.Table, row: Mapping[str, Any]) -> sa.Insert:
    """Insert a row unless its name was taken in the meantime: a violated constraint would end the writer."""
    values = [sa.literal(value, table.c[name].type).label(name) for name, value in row.items()]
    taken = sa.exists().where(table.c.name == row["name"])
    return sa.insert(table).from_select(list(row), sa.select(*values).where(~taken))


def settings_of(given: Mapping[str, Any]) -> InstanceSettings:
    """An instance's settings, checked as the configuration's are; INVALID_REQUEST naming the field."""
    try:
        return InstanceSettings.model_validate_json(orjson.dumps(dict(given)), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise refused(".".join(map(str, first["loc"])) or "body", problem(first)) from error


def check_plan(plan: str, plans: Mapping[str, PlanSettings]) -> None:
    """Refuse a plan that there isn't."""
    if plan not in plans:
        raise refused("plan", f"there is no plan {plan!r}; there are {', '.join(plans)}")


def refused(field: str, problem: str) -> KetlineError:
    """INVALID_REQUEST for one field."""
    return KetlineError(INVALID_REQUEST, field=field, problem=problem)


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in ("tags", "qpus") if given.get(name) is not None}
