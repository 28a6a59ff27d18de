"""What the command line does in a data folder, beside a server that may be running there.

Changes are seen by a running server within seconds: it looks up keys and instances that it doesn't know, and
what it knows of a key it asks again after two seconds.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ketline.config import InstanceSettings, Settings
from ketline.errors import INSTANCE_NOT_FOUND, INVALID_REQUEST, KetlineError
from ketline.service import bootstrap, grants, keys
from ketline.service.data import DataFolder
from ketline.service.instances import Instance, Instances
from ketline.service.keys import Role
from ketline.service.views import InstanceView, KeyView
from ketline.store import queries
from ketline.store.changes import Changes
from ketline.store.store import Store


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A user who gets a key: for instances that there are, and for one of their own that is made."""

    user: str
    name: str = ""
    instances: tuple[str, ...] = ()
    own: InstanceSettings | None = None


class Administration:
    """Keys and instances of a data folder. A folder without a server's data is prepared as at first start.

    Raises:
        StoreError: the database can't be used.
    """

    def __init__(self, data_folder: Path, settings: Settings) -> None:
        self._data = DataFolder(data_folder)
        self._data.keep_private(settings)
        self._settings = settings
        self._store = Store(self._data.database_url(settings), failed=lambda _: None, readers=1)
        try:
            if self._store.read_now(queries.setting, bootstrap.SIGNING_SECRET) is None:
                bootstrap.prepare(self._store, settings, self._data, time.time())
        except BaseException:
            self._store.close()
            raise

    def close(self) -> None:
        """Let go of the database."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def administrator_key(self) -> str | None:
        """The administrator's first key, as long as its file is kept; for `ketline env`."""
        path = self._data.administrator_key
        return path.read_text().strip() if path.exists() else None

    def keys(self) -> Sequence[KeyView]:
        """All keys."""
        return [keys.key_view(row) for row in self._store.read_now(queries.keys)]

    def create_key(
        self, user: str, name: str, role: Role = "user", instances: Sequence[str] = ()
    ) -> tuple[KeyView, str]:
        """A new key for a user, who is made if there is none of the name; the key itself is shown only now.

        ``instances`` names the instances that it opens; none means all.
        """
        return self._create_keys([Enrolment(user, name, tuple(instances))], role)[0]

    def enrol(self, wanted: Sequence[Enrolment]) -> list[tuple[KeyView, str]]:
        """Keys for many users at once: all of them, or none when one is refused."""
        twice = [user for user, count in Counter(each.user for each in wanted).items() if count > 1]
        if twice:
            raise grants.refused("user", f"{twice[0]!r} is named twice")
        return self._create_keys(wanted, "user")

    def _create_keys(self, wanted: Sequence[Enrolment], role: Role) -> list[tuple[KeyView, str]]:
        by_name = {view.name: view.instance_id for view in self.instances()}
        users = self._store.read_now(queries.users)
        pepper = self._store.read_now(queries.setting, bootstrap.KEY_PEPPER) or b""
        plans, now = self._settings.all_plans(), time.time()
        changes = Changes()
        made = []
        for each in wanted:
            names = list(each.instances)
            if each.own is not None:
                row = grants.new_instance(changes, each.own, tuple(by_name), plans, grants.COMMAND_LINE, now)
                by_name[each.own.name] = row["instance_id"]
                names.append(each.own.name)
            for name in names:
                if name not in by_name:
                    raise KetlineError(INSTANCE_NOT_FOUND, instance=name)
            opened = {name: by_name[name] for name in names}
            made.append(
                grants.new_key(
                    changes, users, pepper, each.user, each.name, role, opened, grants.COMMAND_LINE, now
                )
            )
        self._write(changes)
        return [(self._key(key_id), text) for key_id, text in made]

    def _key(self, key_id: str) -> KeyView:
        row = self._store.read_now(queries.key, key_id)
        assert row is not None
        return keys.key_view(row)

    def revoke_key(self, key_id: str) -> KeyView:
        """Revoke a key for good; INVALID_REQUEST if there is none."""
        row = self._store.read_now(queries.key, key_id)
        if row is None:
            raise KetlineError(INVALID_REQUEST, field="key", problem=f"there is no key {key_id!r}")
        if row["revoked_at"] is None:
            changes = Changes()
            grants.revoked_key(changes, key_id, grants.COMMAND_LINE, time.time())
            self._write(changes)
            row = self._store.read_now(queries.key, key_id)
            assert row is not None
        return keys.key_view(row)

    def instances(self) -> Sequence[InstanceView]:
        """All instances with their usage."""
        now = time.time()
        known = Instances(self._settings)
        views = []
        for row in self._store.read_now(queries.instances):
            instance = Instance.from_row(row)
            known.add(instance)
            window = known.window_seconds(instance)
            since = None if window is None else now - window
            billed = self._store.read_now(queries.usage_by_minute, instance.instance_id, since)
            views.append(known.view(instance, now, sum(seconds for _, seconds in billed)))
        return views

    def create_instance(self, wanted: InstanceSettings) -> InstanceView:
        """A new instance; INVALID_REQUEST if the name is taken or the plan unknown."""
        changes = Changes()
        taken = [view.name for view in self.instances()]
        grants.new_instance(
            changes, wanted, taken, self._settings.all_plans(), grants.COMMAND_LINE, time.time()
        )
        self._write(changes)
        return next(view for view in self.instances() if view.name == wanted.name)

    def _write(self, changes: Changes) -> None:
        self._store.writer.write(changes).result()
