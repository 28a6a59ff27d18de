"""Access tokens."""

import base64
import json
import time

import jwt
import pytest

from ketline.api.tokens import Tokens
from ketline.errors import BAD_CREDENTIALS, KetlineError
from ketline.service.views import Principal

SECRET = b"a secret of at least thirty-two bytes"
OWNER = Principal("ada", "key-1", "user")


def test_a_token_names_its_owner():
    token, expires = Tokens(SECRET, 3_600, time.time).issue(OWNER)
    assert Tokens(SECRET, 60, time.time).read(token) == (OWNER, expires)


def test_the_client_finds_whole_numbers_in_it():
    token, _ = Tokens(SECRET, 3_600, time.time).issue(OWNER)
    middle = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    assert isinstance(claims["iat"], int)
    assert claims["exp"] - claims["iat"] == 3_600


def _claims(**change):
    now = int(time.time())
    claims = {"iss": "ketline", "iat": now, "exp": now + 60, "sub": "ada", "key": "key-1", "role": "user"}
    return {k: v for k, v in {**claims, **change}.items() if v is not None}


@pytest.mark.parametrize(
    "token",
    [
        jwt.encode(_claims(), b"another secret of at least thirty-two bytes", "HS256"),
        jwt.encode(_claims(exp=1), SECRET, "HS256"),
        jwt.encode(_claims(exp=None), SECRET, "HS256"),
        jwt.encode(_claims(key=None), SECRET, "HS256"),
        jwt.encode(_claims(iss="elsewhere"), SECRET, "HS256"),
        jwt.encode(_claims(), "", "none"),
        jwt.encode(_claims(), SECRET + SECRET, "HS512"),
        "opaque",
        "",
        "a.b.c",
    ],
)
def test_other_tokens_are_refused(token):
    with pytest.raises(KetlineError) as caught:
        Tokens(SECRET, 60, time.time).read(token)
    assert caught.value.kind is BAD_CREDENTIALS


def test_a_token_lives_by_the_servers_clock_and_not_by_the_machines():
    now = [time.time() + 7_200]
    tokens = Tokens(SECRET, 60, lambda: now[0])
    token, expires = tokens.issue(OWNER)  # by the machine's clock it comes from the future
    assert tokens.read(token) == (OWNER, expires)
    now[0] += 61
    with pytest.raises(KetlineError) as caught:
        tokens.read(token)
    assert "expired" in caught.value.message
