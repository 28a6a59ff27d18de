"""One real server for all tests of the wire, and the real client that talks to it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import compatibility
import httpx
import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import QiskitRuntimeService
from wire_lab import CLIENT_VARIABLES, Server, administration, serving

from ketline.client import connect

CONFIG = """
[server]
max_payload_bytes = 2_000_000

[[instances]]
name = "lab"
plan = "premium"
tags = ["physics"]

[[instances]]
name = "limited"
plan = "premium"
limit_seconds = 600
max_pending_jobs = 3
max_ttl_seconds = 3600

[[qpus]]
name = "ket_manila"
device = "manila"
seed = 11

[[qpus]]
name = "ket_paced"
device = "manila"
pace = 0.3
seed = 12

[[qpus]]
name = "ket_simulator"
device = "manila"
simulator = true
seed = 13
"""


OTHER = """
[server]
hold_seconds = 20
hold_session_seconds = 0
submissions_per_minute = 12
open_session_policy = "job-mode"

[[qpus]]
name = "ket_paced"
device = "manila"
pace = 0.3

[[qpus]]
name = "ket_manila"
device = "manila"

[[qpus]]
name = "ket_wide"
device = "sherbrooke"
"""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that most tests share."""
    with serving(tmp_path_factory.mktemp("wire"), CONFIG) as running:
        yield running


@pytest.fixture(scope="session")
def other_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with other settings: long holds, limited submissions, and a wide device."""
    with serving(tmp_path_factory.mktemp("other"), OTHER) as running:
        yield running


def _new_user(server: Server) -> str:
    with administration(server.data) as administrator:
        return administrator.create_key(f"user-{time.monotonic_ns()}", "test")[1]


@pytest.fixture
def other_http(other_server: Server) -> Iterator[httpx.Client]:
    """Plain HTTP to the other server, by a user of its own."""
    headers = {
        "Authorization": f"Bearer {other_server.token(_new_user(other_server))}",
        "Service-CRN": other_server.instances()["default"],
    }
    with httpx.Client(base_url=f"{other_server.url}/api/v1", headers=headers, timeout=60) as client:
        yield client


@pytest.fixture
def wide_service(other_server: Server) -> QiskitRuntimeService:
    """The client at the other server, which has a 127-qubit device."""
    return connect(other_server.url, _new_user(other_server), instance="default")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CLIENT_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def crns(server: Server) -> dict[str, str]:
    return server.instances()


@pytest.fixture(scope="session")
def shared_service(server: Server) -> QiskitRuntimeService:
    before = {name: os.environ.get(name) for name in CLIENT_VARIABLES}
    try:
        return connect(server.url, server.key, instance="lab")
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@pytest.fixture
def service(
    shared_service: QiskitRuntimeService, server: Server, monkeypatch: pytest.MonkeyPatch
) -> QiskitRuntimeService:
    """The client in the instance ``lab``."""
    monkeypatch.setenv("IAM_URL", server.url)
    return shared_service


@pytest.fixture
def http(server: Server, crns: dict[str, str]) -> Iterator[httpx.Client]:
    """Plain HTTP with the administrator's token, in the instance ``lab``."""
    headers = {
        "Authorization": f"Bearer {server.token()}",
        "Service-CRN": crns["lab"],
        "IBM-API-Version": "2026-04-15",
    }
    with httpx.Client(base_url=f"{server.url}/api/v1", headers=headers, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def bell() -> QuantumCircuit:
    """A Bell circuit in the instructions of the 5-qubit device, measured into ``c``."""
    from qiskit import ClassicalRegister, QuantumRegister

    circuit = QuantumCircuit(QuantumRegister(5, "q"), ClassicalRegister(2, "c"))
    circuit.rz(1.5707963267948966, 0)
    circuit.sx(0)
    circuit.rz(1.5707963267948966, 0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    return circuit


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-compatibility", action="store_true", help="write docs/reference/compatibility.md"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "feature(area, text): a feature of the client that the test shows to work"
    )
    config.addinivalue_line("markers", "check(number): an acceptance check of the wire contract")
    if config.getoption("--write-compatibility"):
        config.pluginmanager.register(_Table(), "compatibility-table")


# The client announces the retirement of classes that are still its default imports.
_NARROW = (
    "ignore:.*[Ll]egacy.*:DeprecationWarning",
    "ignore:.*(SamplerV2|EstimatorV2|NoiseLearner).*deprecated.*:DeprecationWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            for text in _NARROW:
                item.add_marker(pytest.mark.filterwarnings(text))
            for marker in item.iter_markers("feature"):
                item.user_properties.append(("feature", list(marker.args)))


class _Table:
    """Gathers what passed and writes the table at the end."""

    def __init__(self) -> None:
        self.passed: dict[compatibility.Feature, bool] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.outcome == "passed":
            return
        for name, value in report.user_properties:
            if name == "feature":
                feature = (value[0], value[1])
                self.passed[feature] = self.passed.get(feature, True) and report.outcome == "passed"

    def pytest_sessionfinish(self) -> None:
        compatibility.update(self.passed)
