"""What nobody foresaw: a runtime that breaks, and what the outside sees of it."""

import asyncio
import logging

import httpx
import pytest

from ketline.api.app import create_app
from ketline.config import Settings
from ketline.service.views import Principal

HEADERS = {"Authorization": "apikey k", "Service-CRN": "crn"}


class Breaking:
    """Credentials are fine; everything else raises."""

    async def signing_secret(self):
        return b"s" * 32

    async def exchange_key(self, api_key):
        return Principal("ada", "k", "user")

    async def enter(self, principal, crn):
        return principal

    async def submit_job(self, principal, request):
        raise RuntimeError("secret detail of the inside")

    async def job(self, principal, job_id):
        raise ZeroDivisionError

    async def health(self):
        raise OSError("disk")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/v1/jobs", {"program_id": "sampler", "backend": "b", "params": {}}),
        ("GET", "/api/v1/jobs/x?exclude_params=true", None),
        ("GET", "/api/v1/jobs/x/results", None),
        ("GET", "/ketline/v1/health", None),
    ],
)
def test_the_unforeseen_is_a_500_in_our_form_and_in_the_log(method, path, body, caplog):
    async def ask():
        app = await create_app(Breaking(), Settings())
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x", headers=HEADERS) as client:
            return await client.request(method, path, json=body)

    with caplog.at_level(logging.ERROR):
        answer = asyncio.run(ask())
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == 9999
    assert "secret" not in answer.text
    trace = answer.headers["uber-trace-id"]
    assert trace == answer.json()["trace"]
    assert trace in caplog.text
    assert "Traceback" in caplog.text
