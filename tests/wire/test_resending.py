"""A client that sends a submission again, because the connection broke before it was answered."""

from __future__ import annotations

import json
import socket
import time

import httpx
from wire_lab import posted, settled


def _request(http: httpx.Client, body: str) -> bytes:
    head = (
        "POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n"
        f"Authorization: {http.headers['Authorization']}\r\nService-CRN: {http.headers['Service-CRN']}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode()


def _tagged(http: httpx.Client, tag: str) -> list[str]:
    return [job["id"] for job in http.get("/jobs", params={"tags": tag}).json()["jobs"]]


def test_the_job_of_a_broken_connection_is_found_again(server, http, bell):
    tag = f"resent-{time.monotonic_ns()}"
    body = posted(bell, tags=[tag])
    with socket.create_connection(("127.0.0.1", httpx.URL(server.url).port)) as connection:
        connection.sendall(_request(http, body))
        connection.shutdown(socket.SHUT_RDWR)
    deadline = time.monotonic() + 10
    while not (first := _tagged(http, tag)):
        assert time.monotonic() < deadline
    time.sleep(0.1)
    again = http.post("/jobs", content=body, headers={"Content-Type": "application/json"})
    assert again.json()["id"] == first[0]
    assert _tagged(http, tag) == first
    another = http.post("/jobs", content=body)
    assert another.json()["id"] != first[0]


def test_equal_submissions_that_were_answered_are_two_jobs(http, bell):
    body = posted(bell)
    ids = {http.post("/jobs", content=body).json()["id"] for _ in range(3)}
    assert len(ids) == 3


def test_a_connection_that_breaks_inside_the_body_leaves_no_job(server, http, bell):
    tag = f"broken-{time.monotonic_ns()}"
    whole = _request(http, posted(bell, tags=[tag]))
    with socket.create_connection(("127.0.0.1", httpx.URL(server.url).port)) as connection:
        connection.sendall(whole[:-10])
    time.sleep(0.3)
    assert _tagged(http, tag) == []


def test_a_large_submission_does_not_stop_the_loop(server, http, bell):
    """A body just under the limit is taken apart beside the event loop, and kept as it was."""
    params = json.loads(posted(bell))["params"]
    params["filler"] = ['[]{}\\"' * 20] * 10_000
    body = json.dumps({"program_id": "sampler", "backend": "ket_manila", "params": params})
    assert 1_900_000 > len(body) > 1_000_000
    job_id = http.post("/jobs", content=body).json()["id"]
    assert http.get(f"/jobs/{job_id}").json()["params"] == params
    settled(http, job_id)
