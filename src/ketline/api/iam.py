"""Exchanging an API key for an access token, as the client's token manager does (``rest.md`` A.4)."""

from __future__ import annotations

from starlette.responses import Response

from ketline.api.bodies import read_form
from ketline.api.operations import Call, Operation
from ketline.api.replies import json_reply
from ketline.errors import BAD_CREDENTIALS, KetlineError

_GRANT = "urn:ibm:params:oauth:grant-type:apikey"


async def post_token(call: Call) -> Response:
    """Exchange an API key for an access token.

    Refusals have the form that the client's token manager knows: ``errorCode`` and ``errorMessage``.
    """
    try:
        form = await read_form(call.request)
        if form.get("grant_type") != _GRANT:
            return _refused("BXNIM0137E", f"grant_type: {_GRANT} is expected.")
        api_key = form.get("apikey", "")
        if not api_key:
            return _refused("BXNIM0109E", "apikey: it is missing.")
        principal = await call.runtime.exchange_key(api_key)
    except KetlineError as error:
        if error.kind is not BAD_CREDENTIALS:
            return _refused("BXNIM0109E", error.message)
        return _refused("BXNIM0415E", "Provided API key could not be found.")
    token, expires = call.gate.tokens.issue(principal)
    return json_reply(
        {
            "access_token": token,
            "refresh_token": "not_supported",
            "token_type": "Bearer",
            "expires_in": call.gate.tokens.life_seconds,
            "expiration": expires,
            "scope": "ibm openid",
        }
    )


def _refused(code: str, message: str) -> Response:
    return json_reply({"errorCode": code, "errorMessage": message}, status=400)


_FORM = {
    "type": "object",
    "required": ["grant_type", "apikey"],
    "properties": {
        "grant_type": {"type": "string", "enum": [_GRANT]},
        "apikey": {"type": "string"},
        "response_type": {"type": "string"},
    },
}

OPERATIONS = (
    Operation(
        "POST",
        "/identity/token",
        post_token,
        access="anyone",
        body=_FORM,
        body_type="application/x-www-form-urlencoded",
    ),
)
