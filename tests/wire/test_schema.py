"""The OpenAPI document, and what happens when requests are made from it."""

from __future__ import annotations

import pytest
import schemathesis
from fastapi.openapi.utils import get_openapi
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from wire_lab import administration, ask

from ketline.api.app import NOUNS
from ketline.errors import REGISTRY


def test_every_endpoint_is_described(server):
    document = ask("GET", f"{server.url}/ketline/v1/openapi.json").json()
    operations = [(path, method) for path, methods in document["paths"].items() for method in methods]
    assert len(operations) >= 35
    for path, method in operations:
        described = document["paths"][path][method]
        assert described["summary"].endswith("."), path
        assert described["operationId"]
        assert "4XX" in described["responses"]


def _endpoints() -> list[tuple[str, str]]:
    routes = [operation for noun in NOUNS for operation in noun.OPERATIONS]
    paths = get_openapi(title="", version="", routes=routes)["paths"]
    return sorted((method.upper(), path) for path, methods in paths.items() for method in methods)


@pytest.fixture(scope="module")
def document(server) -> dict:
    return ask("GET", f"{server.url}/ketline/v1/openapi.json").json()


@pytest.fixture(scope="module")
def schema(document):
    return schemathesis.openapi.from_dict(document)


@pytest.fixture(scope="module")
def credentials(server, crns) -> dict[str, str]:
    with administration(server.data) as administrator:
        _, key = administrator.create_key("fuzz", "test", instances=["limited"])
    return {"Authorization": f"apikey {key}", "Service-CRN": crns["limited"]}


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(("method", "path"), _endpoints())
def test_no_request_ends_in_a_server_error(server, schema, credentials, method, path, mode):
    """Requests made from the description, right and wrong ones: never 5xx, and refusals in our form."""
    operation = schema[path][method]

    @settings(
        max_examples=4,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def attempt(case: schemathesis.Case) -> None:
        answer = case.call(base_url=server.url, headers=credentials, timeout=20)
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400 and path != "/identity/token":
            assert answer.headers["uber-trace-id"] == [answer.json()["trace"]]

    try:
        attempt()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE, "nothing can be wrong about it"


def test_the_registry_of_errors_is_served(server):
    listed = ask("GET", f"{server.url}/ketline/v1/errors").json()["errors"]
    assert {entry["code"] for entry in listed} == set(REGISTRY)
    for code in REGISTRY:
        assert ask("GET", f"{server.url}/ketline/v1/errors/{code}").json()["code"] == code
    assert ask("GET", f"{server.url}/ketline/v1/errors/1").status_code == 404
