"""Hostile administrators and users: every endpoint of ours with values that make no sense, and races."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from qiskit import QuantumCircuit
from wire_lab import Server, serving, settled, submit, until

CONFIG = """
[[instances]]
name = "lab"
[[instances]]
name = "shop"
[[instances]]
name = "victim"
[[qpus]]
name = "ket_manila"
device = "manila"
[[qpus]]
name = "ket_paced"
device = "manila"
pace = 0.2
"""
NONSENSE: list[Any] = [
    None, True, 0, -1, 3.5, 1e12, 1e308, -1e308, 2**63, "", "\u0000", "a\nb", "x" * 300, "../../etc", "nan",
    [], [1], [{}], [None], ["a"], {}, {"a": 1}, "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "\u202e",
]  # fmt: skip
BROKEN = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'{"a":NaN}',
    b"\xff\xfe",
    b'{"a":1e999}',
    b"[" * 5_000,
    b'{"a":' * 3_000,
]
SENSE = {
    "backend": "ket_manila", "mode": "batch", "program_id": "sampler", "params": {"pubs": []}, "replicas": 2,
    "end": "2999-12-31T00:00:00Z", "executions": 5, "workload": {"jobs": 2, "qpu_seconds": 1},
    "plan": "premium",
}  # fmt: skip


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("hostile"), CONFIG) as running:
        yield running
        assert "Traceback" not in (running.data.parent / "server.log").read_text()


def entering(server: Server, key: str, instance: str = "lab") -> httpx.Client:
    headers = {"Authorization": f"apikey {key}", "Service-CRN": server.instances()[instance]}
    return httpx.Client(base_url=server.url, headers=headers, timeout=30)


@pytest.fixture(scope="module")
def admin(centre: Server) -> Iterator[httpx.Client]:
    with entering(centre, centre.key) as client:
        yield client


def key_of(admin: httpx.Client, user: str, **fields: Any) -> str:
    answer = admin.post("/ketline/v1/keys", json={"user": user, **fields})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["key"])


def requests(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Nonsense for every endpoint: in paths, queries, fields and whole bodies."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            body = operation.get("requestBody")
            empty: dict[str, Any] = {"json": {}} if body else {}
            for name in ("\u0000", "a" * 500, "..", "\U0001f600", "-1") if "{" in path else ():
                yield method, re.sub(r"{\w+}", lambda _, n=name: quote(n, safe=""), path), empty
            place = path.replace("/instances/{name}", "/instances/victim").replace("{name}", "ket_manila")
            place = re.sub(r"{\w+}", "unknown", place)
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "query":
                    for value in NONSENSE:
                        text = value if isinstance(value, str) else json.dumps(value)
                        yield method, place, {"params": {parameter["name"]: text}, **empty}
            if body is None:
                continue
            schema = next(iter(body["content"].values())).get("schema", {})
            for described in schema.get("oneOf", [schema]):
                fields = described.get("properties", {})
                sense = {name: SENSE[name] for name in fields if name in SENSE}
                for name in fields:
                    for value in NONSENSE:
                        yield method, place, {"content": json.dumps({**sense, name: value})}
            for content in BROKEN:
                yield method, place, {"content": content}


def test_nothing_makes_the_server_fail(centre: Server, admin: httpx.Client) -> None:
    document = admin.get("/ketline/v1/openapi.json").json()
    with entering(centre, key_of(admin, "mallory", instances=["lab"])) as user:
        # The user's requests are refused early, most of them by their role: every seventh will do.
        for who, step in ((admin, 1), (user, 7)):
            failed = [
                (method, path, options, answer.text)
                for method, path, options in islice(requests(document), 0, None, step)
                if (answer := who.request(method, path, **options)).status_code >= 500
            ]
            assert failed == []
    for path in (
        "/api/v1/instances/usage",
        "/ketline/v1/instances",
        "/ketline/v1/queue",
        "/ketline/v1/ledger",
    ):
        for crn in centre.instances().values():
            assert admin.get(path, headers={"Service-CRN": crn}).status_code == 200


def test_names_that_are_taken_at_the_same_moment(centre: Server, admin: httpx.Client) -> None:
    def make(_: int) -> list[int]:
        with entering(centre, centre.key) as client:
            return [
                client.post(path, json=body).status_code
                for n in range(5)
                for path, body in (
                    ("/ketline/v1/instances", {"name": f"same {n}"}),
                    ("/ketline/v1/keys", {"user": f"same {n}"}),
                )
            ]

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(make, range(4)))
    for number in range(5):
        assert sorted(one[2 * number] for one in found) == [200, 400, 400, 400]
    names = [user["name"] for user in admin.get("/ketline/v1/users").json()["users"]]
    assert len(set(names)) == len(names)


def test_who_may_not_doesnt_learn_what_there_is(centre: Server, admin: httpx.Client) -> None:
    manager = key_of(admin, "mia", role="manager", instances=["lab"])
    user = key_of(admin, "uli", instances=["lab"])
    with entering(centre, manager) as mia, entering(centre, user) as uli:
        for name in ("shop", "nothing"):
            path, crns = f"/ketline/v1/instances/{name}", {"instances": [name]}
            assert mia.patch(path, json={"limit_seconds": 5}).status_code == 404
            assert mia.patch(path, json={"archived": True}).status_code == 403
            assert mia.post("/ketline/v1/keys", json={"user": "max", **crns}).status_code == 404
            assert uli.patch(path, json={"limit_seconds": 5}).status_code == 403
            assert uli.post("/ketline/v1/keys", json={"user": "max", **crns}).status_code == 403
            assert uli.get("/ketline/v1/ledger", params={"instance": name}).status_code == 404
        assert mia.patch("/ketline/v1/instances/lab", json={"limit_seconds": 5_000}).status_code == 200
        assert mia.post("/ketline/v1/keys", json={"user": "max"}).status_code == 403


def test_a_limit_below_what_was_used_is_refused_there_and_each_change_is_on_record(
    centre: Server, admin: httpx.Client, bell: QuantumCircuit
) -> None:
    headers = {**admin.headers, "Service-CRN": centre.instances()["shop"]}
    with httpx.Client(base_url=f"{centre.url}/api/v1", headers=headers, timeout=30) as shop:
        settled(shop, submit(shop, bell, backend="ket_paced", shots=4_000))
        settled(shop, submit(shop, bell, backend="ket_paced", shots=8_000))
        used = shop.get("/instances/usage").json()["usage_consumed_seconds"]
        assert used > 1
        put = shop.put("/instances/configuration", json={"instance_limit": 1})
        assert (put.status_code, put.json()["errors"][0]["code"]) == (409, 9611)
        assert shop.put("/instances/configuration", json={"instance_limit": 100}).status_code == 204
        # An administrator's own door takes it: what is pending is held until it is raised.
        lower = admin.patch("/ketline/v1/instances/shop", json={"limit_seconds": 1})
        assert lower.status_code == 200
        held = submit(shop, bell)
        told = shop.get(f"{centre.url}/ketline/v1/jobs/{held}/explain").json()
        assert (told["status"], told["reason"]["why"]) == ("queued", "usage_limit")
        assert admin.patch("/ketline/v1/instances/shop", json={"limit_seconds": None}).status_code == 200
        assert settled(shop, held)["state"]["status"] == "Completed"
    trail = admin.get("/ketline/v1/audit", params={"subject": "shop", "limit": 3}).json()["audit"]
    assert [line["facts"] for line in trail] == [
        {"limit_seconds": None}, {"limit_seconds": 1}, {"limit_seconds": 100.0},
    ]  # fmt: skip
    assert {line["action"] for line in trail} == {"instances.change"}
    assert all(line["actor"] and line["key"] and line["at"] for line in trail)


def test_archiving_an_instance_with_an_active_session(
    centre: Server, admin: httpx.Client, bell: QuantumCircuit
) -> None:
    admin.post("/ketline/v1/instances", json={"name": "leaving"})
    crn = centre.instances()["leaving"]
    headers = {**admin.headers, "Service-CRN": crn}
    with httpx.Client(base_url=f"{centre.url}/api/v1", headers=headers, timeout=30) as inside:
        session = inside.post("/sessions", json={"mode": "dedicated", "backend": "ket_paced"}).json()["id"]
        running = submit(inside, bell, backend="ket_paced", shots=2_000, session_id=session)
        until(lambda: inside.get(f"/sessions/{session}").json()["state"] == "active")
        assert admin.patch("/ketline/v1/instances/leaving", json={"archived": True}).status_code == 200
        assert settled(inside, running)["state"]["status"] == "Completed"
        until(lambda: inside.get(f"/sessions/{session}").json()["state"] == "closed")
        refused = inside.post("/jobs", json={"program_id": "sampler", "backend": "ket_manila", "params": {}})
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (403, 9601)
        assert inside.get(f"/jobs/{running}/results").status_code == 200, "results stay"


def test_a_retired_qpu_works_off_its_queue_and_takes_no_more(
    centre: Server, admin: httpx.Client, bell: QuantumCircuit
) -> None:
    mode = "/ketline/v1/qpus/ket_paced/mode"
    with httpx.Client(base_url=f"{centre.url}/api/v1", headers=admin.headers, timeout=30) as lab:
        assert admin.put(mode, json={"mode": "paused", "reason": "helium"}).status_code == 204
        job = submit(lab, bell, backend="ket_paced")
        told = lab.get(f"{centre.url}/ketline/v1/jobs/{job}/explain").json()
        assert "helium" in told["reason"]["message"]
        assert admin.put(mode, json={"mode": "retired", "reason": "sold"}).status_code == 204
        refused = lab.post("/jobs", json={"program_id": "sampler", "backend": "ket_paced", "params": {}})
        assert refused.json()["errors"][0]["code"] == 9602
        assert settled(lab, job)["state"]["status"] == "Completed"
        assert admin.put(mode, json={"mode": "online"}).status_code == 204
    trail = admin.get("/ketline/v1/audit", params={"subject": "ket_paced", "limit": 3}).json()["audit"]
    assert [line["facts"]["mode"] for line in trail] == ["online", "retired", "paused"]
