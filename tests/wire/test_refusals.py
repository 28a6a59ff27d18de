"""Every kind of refusal, and what the client makes of it (acceptance check 19)."""

from __future__ import annotations

import gzip
import json
import socket

import httpx
import pytest
from qiskit_ibm_runtime import SamplerV2, Session
from qiskit_ibm_runtime.exceptions import IBMRuntimeError
from wire_lab import administration, ask, posted, settled, submit

from ketline.client import connect

OPERATIONS = {
    ("GET", "/backends"), ("GET", "/backends/ket_manila/configuration"),
    ("GET", "/backends/ket_manila/status"), ("GET", "/backends/ket_manila/properties"),
    ("GET", "/backends/ket_manila/defaults"), ("POST", "/jobs"),
    ("GET", "/jobs"), ("GET", "/jobs/x"), ("DELETE", "/jobs/x"), ("GET", "/jobs/x/results"),
    ("POST", "/jobs/x/cancel"), ("GET", "/jobs/x/logs"), ("GET", "/jobs/x/metrics"), ("PUT", "/jobs/x/tags"),
    ("POST", "/sessions"), ("GET", "/sessions/x"), ("PATCH", "/sessions/x"), ("DELETE", "/sessions/x/close"),
    ("GET", "/instances/usage"), ("GET", "/instance"), ("GET", "/instances/configuration"),
    ("PUT", "/instances/configuration"), ("GET", "/workloads"), ("GET", "/tags"),
}  # fmt: skip


def _check(answer: httpx.Response, status: int, code: int | None = None) -> str:
    """The refusal's message, after looking at its form."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert answer.headers["uber-trace-id"] == body["trace"]
    assert body["error"]["message"] == body["errors"][0]["message"]
    assert body["errors"][0]["solution"]
    if code is not None:
        assert body["error"]["code"] == code
    return str(body["error"]["message"])


@pytest.mark.check(19)
@pytest.mark.parametrize(("method", "path"), sorted(OPERATIONS))
def test_401_without_credentials_and_404_for_an_unknown_instance(server, http, method, path):
    url = f"{server.url}/api/v1{path}"
    _check(ask(method, url), 401, 1201)
    _check(ask(method, url, headers={"Authorization": "Bearer a.b.c", "Service-CRN": "x"}), 401, 1201)
    _check(ask(method, url, headers={"Authorization": "Basic eDp5"}), 401, 1201)
    unknown = {"Authorization": http.headers["Authorization"], "Service-CRN": "crn:v1:no:such"}
    _check(ask(method, url, headers=unknown), 404, 1279)
    without = {"Authorization": http.headers["Authorization"]}
    assert "Service-CRN" in _check(ask(method, url, headers=without), 400, 1215)


@pytest.mark.check(19)
@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("GET", "/jobs?limit=many", None, 1215),
        ("GET", "/jobs?pending=perhaps", None, 1215),
        ("GET", "/jobs?offset=-1", None, 1215),
        ("GET", "/jobs?created_after=yesterday", None, 1215),
        ("GET", "/jobs?sort=UP", None, 1215),
        ("GET", "/jobs?unheard=of", None, 1215),
        ("GET", "/backends?include_mocks=2", None, 1215),
        ("GET", "/backends?fields=wait_time_seconds", None, 1215),
        ("GET", "/backends/ket_manila/properties?updated_before=x", None, 1215),
        ("GET", "/workloads?limit=51", None, 1215),
        ("GET", "/workloads?status=done", None, 1215),
        ("GET", "/workloads?next=rubbish", None, 1215),
        ("GET", "/tags?search=ab", None, 1215),
        ("POST", "/sessions", {"mode": "shared", "backend": "ket_manila"}, 1215),
        ("POST", "/sessions", {"mode": "batch"}, 1215),
        ("POST", "/sessions", {"mode": "batch", "backend": "ket_manila", "max_ttl": 0}, 1215),
        ("POST", "/sessions", {"mode": "batch", "backend": "ket_manila", "colour": "red"}, 1215),
        ("POST", "/sessions", {"mode": "batch", "backend": "ket_manila", "instance": "crn:other"}, 1215),
        ("PATCH", "/sessions/x", {"accepting_jobs": "no"}, 1215),
        ("PATCH", "/sessions/x", {}, 1215),
        ("PUT", "/instances/configuration", {"instance_limit": 0}, 1215),
        ("PUT", "/instances/configuration", {"instance_limit": "1"}, 1215),
        ("PUT", "/instances/configuration", {}, 1215),
        ("PUT", "/jobs/x/tags", {"tags": "a"}, 1215),
        ("PUT", "/jobs/x/tags", {"tags": [str(n) for n in range(9)]}, 1204),
        ("PUT", "/jobs/x/tags", {"tags": ["x" * 87]}, 1205),
    ],
)
def test_400_names_the_field(http, method, path, body, code):
    _check(http.request(method, path, json=body), 400, code)


@pytest.mark.check(19)
@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("GET", "/jobs/none", None, 1291),
        ("DELETE", "/jobs/none", None, 1291),
        ("GET", "/jobs/none/results", None, 1291),
        ("GET", "/jobs/none/logs", None, 1291),
        ("GET", "/jobs/none/metrics", None, 1291),
        ("POST", "/jobs/none/cancel", None, 1291),
        ("PUT", "/jobs/none/tags", {"tags": []}, 1291),
        ("GET", "/sessions/none", None, 9101),
        ("PATCH", "/sessions/none", {"accepting_jobs": False}, 9101),
        ("PATCH", "/sessions/none", {"accepting_jobs": True}, 9101),
        ("DELETE", "/sessions/none/close", None, 9101),
        ("POST", "/sessions", {"mode": "batch", "backend": "none"}, 1216),
        ("GET", "/backends/none/configuration", None, 1216),
        ("GET", "/backends/none/properties", None, 1216),
        ("GET", "/backends/none/status", None, 1216),
        ("GET", "/backends/none/defaults", None, 1216),
        ("GET", "/backends/ket_manila/configuration?calibration_id=none", None, 9706),
    ],
)
def test_404_says_what_is_not_there(http, method, path, body, code):
    _check(http.request(method, path, json=body), 404, code)


@pytest.mark.check(19)
@pytest.mark.feature("Errors", "A refused submission: `IBMRuntimeError` with message and code")
def test_the_client_shows_a_short_message(service, bell):
    sampler = SamplerV2(service.backend("ket_manila"))
    sampler.options.environment.job_tags = ["x" * 87]
    with pytest.raises(IBMRuntimeError, match=r"A tag may have 86 characters.*Error code: 1205\."):
        sampler.run([bell])


@pytest.mark.check(19)
def test_403_for_what_a_user_may_not_do(server, crns):
    with administration(server.data) as administrator:
        _, key = administrator.create_key("mary", "test")
    headers = {"Authorization": f"apikey {key}", "Service-CRN": crns["limited"]}
    url = f"{server.url}/api/v1/instances/configuration"
    _check(ask("PUT", url, json={"instance_limit": 1_000}, headers=headers), 403, 1200)


def test_a_key_opens_only_its_instances(server, crns):
    with administration(server.data) as administrator:
        _, key = administrator.create_key("carl", "test", instances=["lab"])
    listed = ask(
        "POST", f"{server.url}/v3/resources/search", json={}, headers={"Authorization": f"apikey {key}"}
    ).json()["items"]
    assert [item["name"] for item in listed] == ["lab"]
    headers = {"Authorization": f"apikey {key}", "Service-CRN": crns["default"]}
    _check(ask("GET", f"{server.url}/api/v1/backends", headers=headers), 404, 1279)


@pytest.mark.check(19)
def test_409_for_what_comes_too_early_or_too_late(http, bell):
    job_id = submit(http, bell, backend="ket_paced", shots=20_000)
    _check(http.delete(f"/jobs/{job_id}"), 409, 1337)
    http.post(f"/jobs/{job_id}/cancel")
    settled(http, job_id)
    _check(http.post(f"/jobs/{job_id}/cancel"), 409, 1306)


@pytest.mark.check(19)
def test_429_says_when_to_come_again(other_http, bell):
    body = posted(bell, shots=1)
    answers = [other_http.post("/jobs", content=body) for _ in range(13)]
    assert [a.status_code for a in answers[:12]] == [200] * 12
    _check(answers[-1], 429, 1202)
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 5


def test_the_instance_limits_pending_jobs(http, crns, bell):
    headers = {"Service-CRN": crns["limited"]}
    body = posted(bell, backend="ket_paced", shots=20_000)
    answers = [http.post("/jobs", content=body, headers=headers) for _ in range(4)]
    for answer in answers[:3]:
        http.post(f"/jobs/{answer.json()['id']}/cancel", headers=headers)
    _check(answers[3], 400, 3458)


@pytest.mark.parametrize("chunked", [False, True])
def test_413_for_a_body_above_the_limit(http, chunked):
    params = {"filler": "x" * 2_000_000}
    body = json.dumps({"program_id": "sampler", "backend": "ket_manila", "params": params}).encode()

    def pieces():
        for start in range(0, len(body), 50_000):
            yield body[start : start + 50_000]

    before = http.get("/jobs?limit=1").json()["count"]
    answer = http.post("/jobs", content=pieces() if chunked else body)
    assert "2000000" in _check(answer, 413, 9112)
    assert http.get("/jobs?limit=1").json()["count"] == before
    _check(http.put("/jobs/x/tags", content=b'{"tags":[' + b'"a",' * 300_000 + b'"a"]}'), 413, 9112)


def test_a_compressed_body_is_refused_by_name(http, bell):
    before = http.get("/jobs?limit=1").json()["count"]
    answer = http.post(
        "/jobs", content=gzip.compress(posted(bell).encode()), headers={"Content-Encoding": "gzip"}
    )
    assert "Content-Encoding: 'gzip'" in _check(answer, 400, 1215)
    assert http.get("/jobs?limit=1").json()["count"] == before


def test_an_announced_body_above_the_limit_is_refused_unread(server, http):
    head = (
        "POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n"
        f"Authorization: {http.headers['Authorization']}\r\n"
        f"Service-CRN: {http.headers['Service-CRN']}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", httpx.URL(server.url).port), timeout=10) as connection:
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.feature("Sessions", "Open plan with `open_session_policy = job-mode`: its jobs run in job mode")
def test_sessions_of_the_open_plan_as_jobs(other_server, bell):
    service = connect(other_server.url, other_server.key, instance="open")
    with Session(service.backend("ket_manila")) as session:
        assert SamplerV2(session).run([bell], shots=10).result() is not None
