"""Who asks: from the headers of a request to a principal, and into the instance that the request names."""

from __future__ import annotations

from starlette.types import Scope

from ketline.api.asked import invalid
from ketline.api.tokens import Tokens
from ketline.errors import BAD_CREDENTIALS, KetlineError
from ketline.service.facade import Runtime
from ketline.service.views import Principal

_REMEMBERED = 4_096


class Gate:
    """Checks every request. A verified token is remembered, so that its signature is checked once; whether
    its key still stands is asked of the runtime each time, so that a revoked key is refused at once."""

    def __init__(self, runtime: Runtime, tokens: Tokens) -> None:
        self.runtime = runtime
        self.tokens = tokens
        self._verified: dict[bytes, tuple[Principal, float]] = {}

    async def owner(self, scope: Scope) -> Principal:
        """The owner of the token or key in ``Authorization``; BAD_CREDENTIALS otherwise."""
        return await self.runtime.standing(await self._owner(_header(scope, b"authorization")))

    async def inside(self, scope: Scope) -> Principal:
        """The owner inside the instance that ``Service-CRN`` names; BAD_CREDENTIALS, INSTANCE_NOT_FOUND."""
        authorization = crn = b""
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = value
            elif name == b"service-crn":
                crn = value
        owner = await self._owner(authorization)
        if not crn:
            raise invalid("Service-CRN", "the header is missing; it names the instance")
        return await self.runtime.enter(owner, crn.decode("latin-1"))

    async def _owner(self, authorization: bytes) -> Principal:
        known = self._verified.get(authorization)
        if known is not None and known[1] > self.tokens.now():
            return known[0]
        kind, _, secret = authorization.partition(b" ")
        secret = secret.strip()
        if not secret:
            raise KetlineError(BAD_CREDENTIALS, why="The request carries no Authorization.")
        scheme = kind.lower()
        if scheme == b"bearer":
            principal, expires = self.tokens.read(secret.decode("latin-1"))
            self._remember(authorization, principal, expires)
            return principal
        if scheme == b"apikey":
            return await self.runtime.exchange_key(secret.decode("latin-1"))
        raise KetlineError(BAD_CREDENTIALS, why="Authorization is neither Bearer nor apikey.")

    def _remember(self, authorization: bytes, principal: Principal, expires: float) -> None:
        if len(self._verified) >= _REMEMBERED:
            del self._verified[next(iter(self._verified))]
        self._verified[authorization] = (principal, expires)


def _header(scope: Scope, wanted: bytes) -> bytes:
    for name, value in scope["headers"]:
        if name == wanted:
            return bytes(value)
    return b""
