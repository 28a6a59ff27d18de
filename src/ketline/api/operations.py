"""An endpoint: its path, who may call it, the function that answers, and what the reference says of it.

Endpoints are FastAPI routes, so that the OpenAPI document lists them, but parse what they need themselves:
status requests come several times a second from every waiting client.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal
from uuid import uuid4

from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ketline.api.gate import Gate
from ketline.api.replies import refusal, refusal_of
from ketline.config import Settings
from ketline.errors import INTERNAL, KetlineError
from ketline.service.facade import Runtime
from ketline.service.views import Principal

_log = logging.getLogger(__name__)

Access = Literal["anyone", "owner", "instance"]
"""Whether an endpoint needs no credentials, a valid key, or a valid key inside an instance."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request on its way through an endpoint.

    ``who`` is the owner of the key, inside an instance where the endpoint's access says so.
    """

    request: Request
    runtime: Runtime
    settings: Settings
    gate: Gate
    who: Principal

    def path(self, name: str) -> str:
        """A parameter in the path."""
        return str(self.request.path_params[name])

    @property
    def query(self) -> bytes:
        """The query string."""
        return bytes(self.request.scope["query_string"])


Answer = Callable[[Call], Awaitable[Response]]
_NOBODY = Principal(user_id="", key_id="", role="user")


async def _described(request: Request) -> Response:
    """What FastAPI looks at to describe an endpoint; it is never called."""
    raise NotImplementedError(request.url.path)


class Operation(APIRoute):
    """A route that authenticates, answers, and turns every error into a refusal."""

    def __init__(
        self,
        method: str,
        path: str,
        answer: Answer,
        *,
        access: Access = "instance",
        query: dict[str, dict[str, Any]] | None = None,
        body: dict[str, Any] | None = None,
        body_type: str = "application/json",
        status: int = 200,
        media_type: str = "application/json",
    ) -> None:
        noun = answer.__module__.rsplit(".", 1)[-1].replace("_", " ")
        summary, _, description = (answer.__doc__ or "").partition("\n")
        super().__init__(
            path,
            _described,
            methods=[method],
            name=answer.__name__,
            operation_id=answer.__name__,
            tags=[noun],
            summary=summary.strip(),
            # Without one FastAPI takes what stands at `_described`.
            description=description.strip() or summary.strip(),
            status_code=status,
            response_class=Response,
            response_model=None,
            openapi_extra=_described_request(path, access, query or {}, body, body_type),
            responses=_described_answers(status, media_type, access),
        )
        self.answer = answer
        self.access = access
        self.app = self._serve

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        state = scope["app"].state
        gate: Gate = state.gate
        try:
            if self.access == "instance":
                who = await gate.inside(scope)
            elif self.access == "owner":
                who = await gate.owner(scope)
            else:
                who = _NOBODY
            response = await self.answer(Call(request, gate.runtime, state.settings, gate, who))
        except KetlineError as error:
            response = refusal(error)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            response = failure(scope, error)
        await response(scope, receive, send)


def failure(scope: Scope, error: Exception) -> Response:
    """The answer to a request that failed for a reason nobody foresaw; the log gets the story."""
    trace = uuid4().hex
    _log.error("%s %s failed (trace %s)", scope["method"], scope["path"], trace, exc_info=error)
    return refusal_of(INTERNAL, INTERNAL.message, INTERNAL.solution, trace=trace)


def _described_request(
    path: str,
    access: Access,
    query: dict[str, dict[str, Any]],
    body: dict[str, Any] | None,
    body_type: str,
) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"{(\w+)", path)
    ]
    parameters += [{"name": name, "in": "query", **_described_parameter(of)} for name, of in query.items()]
    if access == "instance":
        parameters.append(
            {
                "name": "Service-CRN",
                "in": "header",
                "required": True,
                "description": "The CRN of the instance.",
                "schema": {"type": "string"},
            }
        )
    described: dict[str, Any] = {"parameters": parameters}
    if body is not None:
        described["requestBody"] = {"required": True, "content": {body_type: {"schema": body}}}
    if access != "anyone":
        described["security"] = [{"token": []}, {"key": []}]
    return described


def _described_parameter(schema: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {"schema": {k: v for k, v in schema.items() if k != "description"}}
    if "description" in schema:
        described["description"] = schema["description"]
    if schema.get("type") == "array":
        described |= {"style": "form", "explode": True}
    return described


def _described_answers(status: int, media_type: str, access: Access) -> dict[int | str, dict[str, Any]]:
    content: dict[str, Any] = {} if status == 204 else {"content": {media_type: {}}}
    described: dict[int | str, dict[str, Any]] = {status: {"description": "Done", **content}}
    refused: dict[str, Any] = {
        "description": "Refused: code, message and what to do about it",
        "content": {"application/json": {"schema": REFUSAL}},
    }
    return {**described, "4XX": refused}


REFUSAL: dict[str, Any] = {
    "type": "object",
    "required": ["errors", "error", "trace"],
    "properties": {
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["code", "message", "solution", "more_info"],
                "properties": {
                    "code": {"type": "integer"},
                    "message": {"type": "string"},
                    "solution": {"type": "string"},
                    "more_info": {"type": "string"},
                },
            },
        },
        "error": {"type": "object"},
        "trace": {"type": "string"},
    },
}
"""The body of every refusal, as a JSON schema."""

TEXT = {"type": "string"}
FLAG = {"type": "boolean"}
COUNT = {"type": "integer", "minimum": 0}
TEXTS = {"type": "array", "items": {"type": "string"}}
MOMENT = {"type": "string", "format": "date-time"}
