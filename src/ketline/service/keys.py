"""API keys: how they look, how they are kept, and who they let in.

A key is ``ketline-<id>-<secret>``. The id finds the row; the secret is 256 random bits, of which only a keyed
hash is kept (``docs/decisions/api-keys.md``).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Any, Literal

import orjson
import sqlalchemy as sa

from ketline.errors import BAD_CREDENTIALS, KetlineError
from ketline.service.clock import Clock, as_datetime, maybe_datetime
from ketline.service.views import KeyView, Principal
from ketline.store import queries, tables
from ketline.store.changes import Changes
from ketline.store.queries import Row
from ketline.store.store import Store

_PREFIX = "ketline"
_TRUSTED_SECONDS = 2.0
_NOTED_SECONDS = 60.0

Role = Literal["administrator", "manager", "user"]
ROLES: tuple[Role, ...] = ("administrator", "manager", "user")


def make_secret() -> tuple[str, str, str]:
    """A new key: its id, its secret, and the key as its owner gets to see it once."""
    key_id = base64.b32encode(secrets.token_bytes(10)).decode().lower()
    secret = secrets.token_urlsafe(32)
    return key_id, secret, f"{_PREFIX}-{key_id}-{secret}"


def hashed(secret: str, pepper: bytes) -> bytes:
    """What is kept of a secret."""
    return hashlib.blake2b(secret.encode(), key=pepper, digest_size=32).digest()


def split(api_key: str) -> tuple[str, str] | None:
    """The id and the secret in a key; None if it isn't one."""
    prefix, _, rest = api_key.partition("-")
    key_id, _, secret = rest.partition("-")
    if prefix != _PREFIX or not key_id or not secret or len(api_key) > 200:
        return None
    return key_id, secret


def key_row(
    key_id: str, user_id: str, name: str, secret_hash: bytes, instances: tuple[str, ...], now: float
) -> dict[str, Any]:
    """The row of a new key."""
    return {
        "key_id": key_id,
        "user_id": user_id,
        "name": name,
        "secret_hash": secret_hash,
        "instances": orjson.dumps(instances).decode(),
        "created_at": now,
        "revoked_at": None,
        "last_used_at": None,
    }


def key_view(row: Row) -> KeyView:
    """A key as the outside sees it."""
    return KeyView(
        key_id=row["key_id"],
        user_id=row["user_id"],
        name=row["name"],
        role=row["role"],
        created_at=as_datetime(row["created_at"]),
        revoked_at=maybe_datetime(row["revoked_at"]),
        last_used_at=maybe_datetime(row["last_used_at"]),
        instances=tuple(orjson.loads(row["instances"])),
    )


@dataclass(slots=True)
class _Known:
    row: Row
    instances: frozenset[str]
    until: float
    principals: dict[str, Principal]


class Keyring:
    """Checks keys. What is known of a key is trusted for two seconds, so that a revoked one soon ends."""

    def __init__(self, store: Store, clock: Clock, pepper: bytes) -> None:
        self._store = store
        self._clock = clock
        self._pepper = pepper
        self._known: dict[str, _Known] = {}
        self._noted: dict[str, float] = {}

    async def check(self, api_key: str) -> Principal:
        """The owner of a key; BAD_CREDENTIALS otherwise."""
        parts = split(api_key)
        if parts is None:
            raise KetlineError(BAD_CREDENTIALS, why="Provided API key could not be found.")
        key_id, secret = parts
        known = await self._find(key_id)
        expected = known.row["secret_hash"] if known is not None else bytes(32)
        if not hmac.compare_digest(hashed(secret, self._pepper), expected) or known is None:
            raise KetlineError(BAD_CREDENTIALS, why="Provided API key could not be found.")
        self._note(key_id)
        return self._principal(known, "")

    async def still(self, principal: Principal) -> _Known:
        """What is known of the key of somebody who was let in before; BAD_CREDENTIALS if it was revoked."""
        known = await self._find(principal.key_id)
        if known is None or known.row["user_id"] != principal.user_id:
            raise KetlineError(BAD_CREDENTIALS, why="The API key was revoked.")
        return known

    async def standing(self, principal: Principal) -> Principal:
        """The principal with the role that they have now; BAD_CREDENTIALS if their key was revoked."""
        return self._principal(await self.still(principal), "")

    async def enter(self, principal: Principal, instance_id: str) -> Principal | None:
        """The principal inside an instance; None if the key doesn't open it."""
        known = await self.still(principal)
        if known.instances and instance_id not in known.instances:
            return None
        return self._principal(known, instance_id)

    def _principal(self, known: _Known, instance_id: str) -> Principal:
        found = known.principals.get(instance_id)
        if found is None:
            row = known.row
            found = Principal(row["user_id"], row["key_id"], row["role"], instance_id)
            known.principals[instance_id] = found
        return found

    async def _find(self, key_id: str) -> _Known | None:
        now = self._clock.now()
        known = self._known.get(key_id)
        if known is not None and known.until > now:
            return known
        row = await self._store.read_row(queries.key, key_id)
        if row is None or row["revoked_at"] is not None:
            self._known.pop(key_id, None)
            return None
        known = _Known(row, frozenset(orjson.loads(row["instances"])), now + _TRUSTED_SECONDS, {})
        self._known[key_id] = known
        return known

    def forget(self, key_id: str) -> None:
        """Look a key up anew at its next use."""
        self._known.pop(key_id, None)

    def _note(self, key_id: str) -> None:
        """Write down that a key was used, once a minute at most."""
        now = self._clock.now()
        if now - self._noted.get(key_id, 0.0) > _NOTED_SECONDS:
            self._noted[key_id] = now
            changes = Changes()
            changes.call(
                sa.update(tables.keys).where(tables.keys.c.key_id == key_id).values(last_used_at=now)
            )
            self._store.writer.write(changes)
