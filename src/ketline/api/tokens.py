"""Access tokens: JWTs signed with the server's own secret (HS256), as the client's token manager wants them.

The client reads the integer claims ``iat`` and ``exp`` and nothing else (``rest.md`` A.4); the rest is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jwt

from ketline.errors import BAD_CREDENTIALS, KetlineError
from ketline.service.views import Principal

ISSUER = "ketline"


class Tokens:
    """Makes access tokens and tells whose they are.

    ``now`` is the time in seconds since the epoch by which they expire: that of the runtime, which doesn't
    jump when the machine's clock is set.
    """

    def __init__(self, secret: bytes, life_seconds: int, now: Callable[[], float]) -> None:
        self._secret = secret
        self.life_seconds = life_seconds
        self.now = now

    def issue(self, principal: Principal) -> tuple[str, int]:
        """A token for the key's owner, and when it expires (seconds since the epoch)."""
        now = int(self.now())
        expires = now + self.life_seconds
        claims = {
            "iss": ISSUER,
            "iat": now,
            "exp": expires,
            "sub": principal.user_id,
            "key": principal.key_id,
            "role": principal.role,
        }
        return jwt.encode(claims, self._secret, algorithm="HS256"), expires

    def read(self, token: str) -> tuple[Principal, float]:
        """The owner of a token, and when it expires; BAD_CREDENTIALS unless we signed it and it is fresh."""
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._secret,
                algorithms=["HS256"],
                issuer=ISSUER,
                options={
                    "require": ["iat", "exp", "iss", "sub", "key", "role"],
                    "verify_exp": False,  # by the machine's clock; see below
                    "verify_iat": False,
                },
            )
            expires = float(claims["exp"])
        except (jwt.InvalidTokenError, TypeError, ValueError) as error:
            raise KetlineError(BAD_CREDENTIALS, why="The access token isn't one of this server.") from error
        if expires <= self.now():
            raise KetlineError(BAD_CREDENTIALS, why="The access token has expired.")
        return Principal(claims["sub"], claims["key"], claims["role"]), expires
