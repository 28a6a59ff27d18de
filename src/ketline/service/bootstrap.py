"""What a new data folder gets: secrets, an administrator with a key, and the instances."""

from __future__ import annotations

import os
import secrets
import uuid

import orjson
import sqlalchemy as sa

from ketline.config import ConfigError, InstanceSettings, Settings
from ketline.service import instances, keys
from ketline.service.data import DataFolder
from ketline.store import queries, tables
from ketline.store.changes import Changes
from ketline.store.queries import Row
from ketline.store.store import Store

SIGNING_SECRET = "token signing secret"  # noqa: S105 - the name of one
KEY_PEPPER = "key hash secret"

FIRST_INSTANCES = (
    InstanceSettings(name="default", plan="premium"),
    InstanceSettings(name="open", plan="open"),
)


def prepare(store: Store, settings: Settings, data: DataFolder, now: float) -> None:
    """Make what is missing; what the configuration says of an instance is brought up to date."""
    plans = settings.all_plans()
    for wanted in settings.instances:
        if wanted.plan not in plans:
            raise ConfigError(
                f"instances: {wanted.name}: there is no plan {wanted.plan!r}; there are {', '.join(plans)}"
            )
    changes = Changes()
    first = store.read_now(queries.setting, SIGNING_SECRET) is None
    if first:
        _first_secrets(changes, data, now)
    wanted_instances = {i.name: i for i in (FIRST_INSTANCES if first else ())}
    wanted_instances |= {i.name: i for i in settings.instances}
    known = {row["name"]: row for row in store.read_now(queries.instances)}
    for name, wanted in wanted_instances.items():
        if name in known:
            _update(changes, known[name], wanted)
        else:
            row = instances.instance_row(wanted, now)
            changes.call(sa.insert(tables.instances).values(**row))
    if changes:
        store.writer.write(changes).result()


def _update(changes: Changes, known: Row, wanted: InstanceSettings) -> None:
    """What the configuration says of an instance that there is already.

    It may belong to another account from now on: what it used goes with it, and its CRN, by which clients
    know it, stays. Its region is part of the CRN and can't change.
    """
    given = wanted.model_fields_set
    if "region" in given and wanted.region != known["region"]:
        raise ConfigError(
            f"instances: {wanted.name}: region: it was made in {known['region']}, which its CRN names, and "
            f"can't move to {wanted.region}; make another instance there"
        )
    kept = orjson.loads(known["overrides"])
    overrides = instances.overrides_of(wanted)
    if kept.get("limit_was_set"):
        # Set by an administrator through the API: that stands until the next such change.
        overrides |= {"limit_seconds": kept.get("limit_seconds"), "limit_was_set": True}
    changes.call(
        sa.update(tables.instances)
        .where(tables.instances.c.instance_id == known["instance_id"])
        .values(
            plan=wanted.plan,
            account_id=wanted.account if "account" in given else known["account_id"],
            tags=orjson.dumps(wanted.tags).decode(),
            overrides=orjson.dumps(overrides).decode(),
        )
    )


def _first_secrets(changes: Changes, data: DataFolder, now: float) -> None:
    pepper = secrets.token_bytes(32)
    changes.call(
        sa.insert(tables.settings).values(
            [
                {"name": SIGNING_SECRET, "value": secrets.token_bytes(32)},
                {"name": KEY_PEPPER, "value": pepper},
            ]
        )
    )
    user_id = str(uuid.uuid4())
    changes.call(
        sa.insert(tables.users).values(
            user_id=user_id, name="administrator", role="administrator", created_at=now
        )
    )
    key_id, secret, text = keys.make_secret()
    row = keys.key_row(key_id, user_id, "first", keys.hashed(secret, pepper), (), now)
    changes.call(sa.insert(tables.keys).values(**row))
    fd = os.open(data.administrator_key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
