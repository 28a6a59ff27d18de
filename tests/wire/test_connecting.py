"""Every way in which the client may be pointed at the server (acceptance checks 1, 2, 17)."""

from __future__ import annotations

import logging
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from qiskit_ibm_runtime import QiskitRuntimeService
from qiskit_ibm_runtime.exceptions import IBMInputValueError, IBMNotAuthorizedError
from wire_lab import administration, ask, until

from ketline.client import addresses, connect

NAMES = {"ket_manila", "ket_paced", "ket_simulator"}
_LINE = re.compile(r'"(\w+) (\S+) HTTP/1.1" (\d+)')


class Requests(logging.Handler):
    """The requests that the client's HTTP library logs."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        found = _LINE.search(record.getMessage())
        if found:
            path = found[2].split("?")[0]
            self.lines.append(f"{found[1]} {path} {found[3]}")


@pytest.fixture
def requests() -> Iterator[Requests]:
    handler = Requests()
    logger = logging.getLogger("urllib3.connectionpool")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.setLevel(level)
    logger.removeHandler(handler)


def _names(service) -> set[str]:
    return {backend.name for backend in service.backends()}


@pytest.mark.check(1)
@pytest.mark.feature("Connecting", "Environment only, instance by CRN (R2)")
def test_environment_only(server, crns, monkeypatch, requests):
    monkeypatch.setenv("IAM_URL", server.url)
    monkeypatch.setenv("QISKIT_FUNCTIONS_EXPERIMENTAL", "1")
    monkeypatch.setenv("QISKIT_IBM_TOKEN", server.key)
    monkeypatch.setenv("QISKIT_IBM_INSTANCE", crns["lab"])
    monkeypatch.setenv("QISKIT_IBM_URL", f"{server.url}/experimental/api/v1")
    assert _names(QiskitRuntimeService()) == NAMES
    kinds = {line.split("/backends/")[-1].split("/")[-1] for line in requests.lines}
    assert kinds == {"token 200", "backends 200", "configuration 200"}
    assert requests.lines[0] == "POST /identity/token 200"


@pytest.mark.parametrize("instance", ["default", "lab"])
@pytest.mark.feature("Connecting", "The lines of `ketline env`")
def test_ketline_env(server, crns, monkeypatch, instance):
    command = [
        sys.executable,
        "-m",
        "ketline.cli.main",
        "env",
        "--data",
        str(server.data),
        "--instance",
        instance,
    ]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    for name, value in re.findall(r"^export (\w+)=(.*)$", lines, re.MULTILINE):
        monkeypatch.setenv(name, shlex.split(value)[0])
    service = QiskitRuntimeService()
    assert service.active_instance() == crns[instance]
    assert _names(service) == NAMES


@pytest.mark.check(1)
@pytest.mark.feature("Connecting", "Constructor with a url resolver (R1)")
def test_constructor(server, crns, monkeypatch):
    monkeypatch.setenv("IAM_URL", server.url)
    monkeypatch.setenv("QISKIT_FUNCTIONS_EXPERIMENTAL", "1")
    service = QiskitRuntimeService(
        token=server.key,
        instance=crns["lab"],
        url=server.url,
        url_resolver=lambda url, instance, private, channel: f"{server.url}/api/v1",
    )
    assert _names(service) == NAMES


@pytest.mark.check(2)
@pytest.mark.parametrize("catalog", ["/catalog/api/v1", "/api/v1"])
@pytest.mark.feature("Connecting", "Environment only, no instance (R3)")
@pytest.mark.filterwarnings("ignore:Instance was not set:UserWarning")
def test_no_instance(server, monkeypatch, requests, catalog):
    for name, value in addresses(server.url).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GLOBAL_CATALOG_URL", server.url + catalog)
    monkeypatch.setenv("QISKIT_IBM_TOKEN", server.key)
    monkeypatch.setenv("QISKIT_IBM_URL", f"http://experimental@{urlsplit(server.url).netloc}/api/v1")
    service = QiskitRuntimeService()
    before_use = list(requests.lines)
    assert _names(service) == NAMES
    assert before_use.count("POST /identity/token 200") >= 2
    assert "POST /v3/resources/search 200" in before_use
    assert any(line.startswith(f"GET {catalog}/") and line.endswith(" 200") for line in before_use)
    assert "GET /api/v1/backends 200" in before_use


@pytest.mark.parametrize("named", ["name", "crn"])
@pytest.mark.feature("Connecting", "Environment only, instance by name or CRN, full emulation (R4)")
def test_instance_by_name_or_crn(server, crns, monkeypatch, named):
    for name, value in addresses(server.url).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("QISKIT_IBM_TOKEN", server.key)
    monkeypatch.setenv("QISKIT_IBM_INSTANCE", "lab" if named == "name" else crns["lab"])
    monkeypatch.setenv("QISKIT_IBM_URL", f"http://experimental@{urlsplit(server.url).netloc}/api/v1")
    service = QiskitRuntimeService()
    assert service.active_instance() == crns["lab"]
    assert _names(service) == NAMES


@pytest.mark.feature("Connecting", "Through an HTTP proxy, with host names (R7)")
def test_proxy(server, crns, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("QISKIT_IBM_TOKEN", server.key)
    monkeypatch.setenv("QISKIT_IBM_INSTANCE", crns["lab"])
    monkeypatch.setenv("QISKIT_IBM_URL", "http://qcloud.local")
    monkeypatch.setenv("IAM_URL", "http://iam.qcloud.local")
    assert _names(QiskitRuntimeService()) == NAMES


@pytest.mark.feature("Connecting", "Wildcard DNS: one host name per service")
def test_host_names(server, crns, monkeypatch):
    """The client derives every host from the url; names under ``my.host`` lead to the server here."""
    port = urlsplit(server.url).port
    resolve = socket.getaddrinfo

    def to_server(host, service, *rest, **options):
        if isinstance(host, str) and host.endswith("my.host"):
            return resolve("127.0.0.1", port, *rest, **options)
        return resolve(host, service, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", to_server)
    monkeypatch.setenv("IAM_URL", "http://iam.my.host")
    service = QiskitRuntimeService(token=server.key, instance=crns["lab"], url="http://my.host")
    assert service.active_instance() == crns["lab"]
    assert _names(service) == NAMES


@pytest.mark.feature("Connecting", "`ketline.client.connect`, instance by name, by CRN, or left open")
@pytest.mark.filterwarnings("ignore:Instance was not set:UserWarning")
def test_connect(server, crns, monkeypatch):
    for name in addresses(server.url):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for instance in ("lab", crns["lab"], None):
        service = connect(f"{server.url}/", server.key, instance=instance)
        assert type(service) is QiskitRuntimeService
        assert _names(service) == NAMES


@pytest.mark.check(17)
@pytest.mark.feature("Instances", "`instances()`, `active_instance()`, `usage()`")
def test_instances_and_usage(service, crns):
    listed = {entry["name"]: entry for entry in service.instances()}
    assert {"default", "open", "lab", "limited"} <= set(listed)
    assert listed["lab"]["crn"] == crns["lab"]
    assert listed["lab"]["plan"] == "premium"
    assert listed["lab"]["tags"] == ["physics"]
    assert listed["lab"]["pricing_type"] == "subscription"
    assert listed["open"]["pricing_type"] == "free"
    assert service.active_instance() == crns["lab"]
    usage = service.usage()
    assert usage["instance_id"] == crns["lab"]
    assert usage["usage_limit_reached"] is False
    assert usage["usage_consumed_seconds"] >= 0


@pytest.mark.feature("Instances", "Usage left under a limit")
def test_usage_under_a_limit(server):
    usage = connect(server.url, server.key, instance="limited").usage()
    assert usage["usage_limit_seconds"] == 600
    assert usage["usage_remaining_seconds"] == pytest.approx(600 - usage["usage_consumed_seconds"])


@pytest.mark.feature("Instances", "Instances chosen by plan, by tag and by region")
@pytest.mark.filterwarnings("ignore:.*instance:UserWarning")
def test_instances_by_preference(server, crns):
    assert connect(server.url, server.key, tags=["physics"]).backends()[0]._instance == crns["lab"]
    chosen = connect(server.url, server.key, plans_preference=["open"], region="us-east").backends()
    assert chosen[0]._instance == crns["open"]


def test_an_unknown_key_is_refused(server, monkeypatch):
    for name, value in addresses(server.url).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Exception, match="valid API token"):
        connect(server.url, "not-a-key", instance="lab").backends()
    answer = ask(
        "POST",
        f"{server.url}/identity/token",
        data={"grant_type": "urn:ibm:params:oauth:grant-type:apikey", "apikey": "not-a-key"},
    )
    assert answer.status_code == 400
    assert answer.json()["errorCode"] == "BXNIM0415E"


@pytest.mark.feature("Errors", "An instance that the key doesn't open: `IBMInputValueError`")
@pytest.mark.parametrize("instance", ["no-such", "crn:v1:bluemix:public:quantum-computing:us-east:a/x:y::"])
def test_an_unknown_instance_is_refused(server, instance):
    with pytest.raises(IBMInputValueError):
        connect(server.url, server.key, instance=instance)


@pytest.mark.feature("Connecting", "A saved account")
def test_a_saved_account(server, crns, monkeypatch, tmp_path):
    file = str(tmp_path / "accounts.json")
    for name, value in addresses(server.url).items():
        monkeypatch.setenv(name, value)
    QiskitRuntimeService.save_account(
        token=server.key,
        url=f"{server.url}/experimental/api/v1",
        instance=crns["lab"],
        name="here",
        filename=file,
    )
    service = QiskitRuntimeService(name="here", filename=file)
    assert _names(service) == NAMES


def test_the_key_itself_is_accepted(server, crns):
    headers = {"Authorization": f"apikey {server.key}", "Service-CRN": crns["lab"]}
    assert ask("GET", f"{server.url}/api/v1/backends", headers=headers).status_code == 200


@pytest.mark.feature("Errors", "A revoked key is refused at once: `IBMNotAuthorizedError`")
@pytest.mark.filterwarnings("ignore:Unable to retrieve IBM Cloud access token:UserWarning")
def test_a_revoked_key_is_refused_at_once(server, crns):
    with administration(server.data) as administrator:
        view, secret = administrator.create_key("ada", "notebook", instances=["lab"])
        service = connect(server.url, secret, instance="lab")
        backend = service.backend("ket_manila")
        token = server.token(secret)
        headers = {"Authorization": f"Bearer {token}", "Service-CRN": crns["lab"]}
        assert ask("GET", f"{server.url}/api/v1/backends", headers=headers).status_code == 200
        administrator.revoke_key(view.key_id)
    until(lambda: ask("GET", f"{server.url}/api/v1/backends", headers=headers).status_code == 401, 5)
    for method, path in (("POST", "/v3/resources/search"), ("GET", "/ketline/v1/keys")):
        assert ask(method, f"{server.url}{path}", headers=headers, json={}).status_code == 401, path
    with pytest.raises(IBMNotAuthorizedError):
        backend.status()
