"""The application: all endpoints of the wire over one runtime."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from ketline import __version__
from ketline.api import (
    administration,
    analytics,
    backends,
    catalog,
    error_codes,
    health,
    iam,
    instances,
    job_details,
    jobs,
    ledger,
    metrics,
    planning,
    resources,
    search,
    sessions,
    submissions,
    tags,
    versions,
    windows,
    workloads,
)
from ketline.api.edge import Edge
from ketline.api.gate import Gate
from ketline.api.holding import Holding
from ketline.api.operations import Operation, failure
from ketline.api.rates import SubmissionRate
from ketline.api.replies import refusal
from ketline.api.submissions import Unanswered
from ketline.api.tokens import Tokens
from ketline.config import Settings
from ketline.errors import METHOD_NOT_ALLOWED, NO_SUCH_PATH, KetlineError
from ketline.service.facade import Runtime

NOUNS = (
    jobs, submissions, backends, instances, sessions, workloads, iam, search, catalog, resources, tags,
    versions, health, job_details, error_codes, ledger, analytics,
    administration, planning, windows, metrics,
)  # fmt: skip
"""The files with endpoints; the first are asked most."""


class Application(FastAPI):
    """FastAPI with our own layer around the router: it answers every error in our form."""

    def build_middleware_stack(self) -> ASGIApp:
        """The layers from the outside in."""
        return Edge(_Refusing(self.router))

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, with the two ways to authenticate."""
        if self.openapi_schema is None:
            document = get_openapi(
                title=self.title, version=self.version, description=self.description, routes=self.routes
            )
            document.setdefault("components", {})["securitySchemes"] = {
                "token": {"type": "http", "scheme": "bearer", "description": "From POST /identity/token."},
                "key": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "`apikey <API key>`.",
                },
            }
            self.openapi_schema = document
        return self.openapi_schema


class _Refusing:
    """Turns what the router raises (no such path, no such method, anything unforeseen) into refusals."""

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._inner(scope, receive, send)
        except HTTPException as error:
            if scope["type"] != "http":
                raise
            await _refused(error, scope)(scope, receive, send)
        except Exception as error:
            if scope["type"] != "http":
                raise
            try:
                await failure(scope, error)(scope, receive, send)
            except RuntimeError:
                # An answer has begun already; all that is left is to break it off.
                raise error from None


def _refused(error: HTTPException, scope: Scope) -> Response:
    path, method = scope["path"], scope["method"]
    if error.status_code != 405:
        return refusal(KetlineError(NO_SUCH_PATH, path=path))
    methods = {
        method
        for route in scope["app"].routes
        if route.matches(scope)[0] is not Match.NONE
        for method in getattr(route, "methods", None) or ()
    }
    allowed = ", ".join(sorted(methods))
    response = refusal(KetlineError(METHOD_NOT_ALLOWED, method=method, path=path, allowed=allowed))
    response.headers["allow"] = allowed
    return response


async def create_app(runtime: Runtime, settings: Settings) -> Application:
    """The ASGI application that speaks for ``runtime``."""
    app = Application(
        title="Ketline",
        version=__version__,
        description="A self-hosted quantum runtime: job, batch and session mode.",
        openapi_url="/ketline/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    tokens = Tokens(
        await runtime.signing_secret(), settings.server.token_seconds, lambda: runtime.now().timestamp()
    )
    app.state.gate = Gate(runtime, tokens)
    app.state.settings = settings
    app.state.holding = Holding(runtime, settings.server)
    app.state.unanswered = Unanswered()
    app.state.submission_rate = SubmissionRate(settings.server.submissions_per_minute)
    operations: list[Operation] = [operation for noun in NOUNS for operation in noun.OPERATIONS]
    app.router.routes[:0] = operations
    return app
