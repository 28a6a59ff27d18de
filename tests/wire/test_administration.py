"""Administration and the ledger over the wire, on a server of their own."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import SamplerV2
from typer.testing import CliRunner
from wire_lab import Server, posted, serving, settled, submit, until

from ketline.cli.main import app
from ketline.client import connect

CONFIG = """
[money]
currency = "EUR"

[[money.rates]]
plan = "premium"
per_second = 2.0

[[money.rates]]
plan = "premium"
qpu = "ket_paced"
per_second = 3.0

[[instances]]
name = "lab"

[[instances]]
name = "shop"

[[instances]]
name = "spent"
allocation_seconds = 0.25

[[qpus]]
name = "ket_manila"
device = "manila"
seed = 1
drift = 0.5

[[qpus]]
name = "ket_paced"
device = "manila"
pace = 0.5
seed = 2
"""


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("centre"), CONFIG) as running:
        yield running


@contextmanager
def entering(server: Server, key: str, instance: str | None = None) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"apikey {key}"}
    if instance is not None:
        headers["Service-CRN"] = server.instances()[instance]
    with httpx.Client(base_url=f"{server.url}/api/v1", headers=headers, timeout=30) as client:
        yield client


@pytest.fixture
def admin(centre: Server) -> Iterator[httpx.Client]:
    with entering(centre, centre.key, "lab") as client:
        yield client


def own(server: Server, path: str) -> str:
    return f"{server.url}/ketline/v1{path}"


def make_key(admin: httpx.Client, centre: Server, user: str, **fields: Any) -> str:
    answer = admin.post(own(centre, "/keys"), json={"user": user, **fields})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["key"])


def test_a_key_made_over_the_wire_works_until_it_is_revoked(centre: Server, admin: httpx.Client) -> None:
    made = admin.post(
        own(centre, "/keys"), json={"user": "ada", "name": "laptop", "instances": ["lab"]}
    ).json()
    with entering(centre, made["key"], "lab") as ada:
        assert ada.get("/backends").status_code == 200
        assert admin.delete(own(centre, f"/keys/{made['id']}")).status_code == 204
        assert ada.get("/backends").status_code == 401
    listed = {key["id"]: key for key in admin.get(own(centre, "/keys")).json()["keys"]}
    assert listed[made["id"]]["revoked"] is not None
    assert made["key"] not in admin.get(own(centre, "/keys")).text


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "user"),
        ({"user": ""}, "user"),
        ({"user": 7}, "user"),
        ({"user": "x", "role": "king"}, "role"),
        ({"user": "x", "instances": "lab"}, "instances"),
        ({"user": "x", "colour": "red"}, "colour"),
    ],
)
def test_a_wrong_key_request_names_the_field(
    centre: Server, admin: httpx.Client, body: dict[str, Any], field: str
) -> None:
    answer = admin.post(own(centre, "/keys"), json=body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["message"].startswith(f"{field}:")


def test_users_may_not_administer(centre: Server, admin: httpx.Client) -> None:
    with entering(centre, make_key(admin, centre, "bob"), "lab") as bob:
        for method, path, body in (
            ("GET", "/users", None),
            ("POST", "/keys", {"user": "eve"}),
            ("POST", "/instances", {"name": "mine"}),
            ("PATCH", "/instances/lab", {"plan": "open"}),
            ("GET", "/qpus", None),
            ("PUT", "/qpus/ket_manila/mode", {"mode": "paused"}),
            ("POST", "/qpus/ket_manila/calibrate", None),
            ("GET", "/audit", None),
        ):
            answer = bob.request(method, own(centre, path), json=body)
            assert (answer.status_code, answer.json()["errors"][0]["code"]) == (403, 1200), path
        assert bob.put("/instances/configuration", json={"instance_limit": 5}).status_code == 403


def test_a_manager_makes_keys_for_what_their_own_key_opens(centre: Server, admin: httpx.Client) -> None:
    with entering(centre, make_key(admin, centre, "max", role="manager", instances=["shop"])) as manager:
        assert (
            manager.post(own(centre, "/keys"), json={"user": "sue", "instances": ["shop"]}).status_code == 200
        )
        assert {row["name"] for row in manager.get(own(centre, "/users")).json()["users"]} == {"max", "sue"}
        assert manager.delete(own(centre, "/keys/nobodys")).status_code == 404
        # An instance that the manager's key doesn't open is no instance for them.
        foreign = manager.post(own(centre, "/keys"), json={"user": "sue", "instances": ["lab"]})
        assert foreign.status_code == 404
        for body in (
            {"user": "sue"},
            {"user": "tom", "role": "administrator", "instances": ["shop"]},
        ):
            assert manager.post(own(centre, "/keys"), json=body).status_code == 403, body
        limit = {"limit_seconds": 500}
        assert manager.patch(own(centre, "/instances/shop"), json=limit).status_code == 200
        assert manager.patch(own(centre, "/instances/lab"), json=limit).status_code == 404
        assert manager.patch(own(centre, "/instances/shop"), json={"plan": "open"}).status_code == 403


def test_an_instance_is_made_changed_and_archived(
    centre: Server, admin: httpx.Client, bell: QuantumCircuit
) -> None:
    body = {"name": "course", "plan": "open", "max_pending_jobs": 2, "tags": ["autumn"]}
    made = admin.post(own(centre, "/instances"), json=body).json()
    assert (made["plan"], made["limit_seconds"], made["tags"]) == ("open", 600, ["autumn"])
    assert admin.post(own(centre, "/instances"), json=body).status_code == 400
    changed = admin.patch(
        own(centre, "/instances/course"), json={"limit_seconds": 900, "plan": "premium"}
    ).json()
    assert (changed["plan"], changed["limit_seconds"]) == ("premium", 900)
    back = admin.patch(own(centre, "/instances/course"), json={"limit_seconds": None}).json()
    assert back["limit_seconds"] is None
    with entering(centre, make_key(admin, centre, "kim", instances=["course"]), "course") as kim:
        job = submit(kim, bell)
        settled(kim, job)
        assert admin.patch(own(centre, "/instances/course"), json={"archived": True}).json()["archived"]
        assert kim.post("/jobs", content=posted(bell)).status_code in (400, 403, 409)
        assert kim.get(f"/jobs/{job}/results").status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"limit_seconds": -1}, "limit_seconds"),
        ({"limit_seconds": "much"}, "limit_seconds"),
        ({"plan": "gold"}, "plan"),
        ({"archived": "yes"}, "archived"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_a_wrong_change_names_the_field(
    centre: Server, admin: httpx.Client, body: dict[str, Any], field: str
) -> None:
    answer = admin.patch(own(centre, "/instances/lab"), json=body)
    assert answer.status_code == 400, answer.text
    assert field in answer.json()["errors"][0]["message"]


def test_a_paused_qpu_starts_nothing_until_it_is_resumed(
    centre: Server, admin: httpx.Client, bell: QuantumCircuit
) -> None:
    mode = own(centre, "/qpus/ket_manila/mode")
    assert admin.put(mode, json={"mode": "paused", "reason": "fridge warm"}).status_code == 204
    status = admin.get("/backends/ket_manila/status").json()
    assert status["status"] == "paused"
    job = submit(admin, bell)
    assert admin.get(f"/jobs/{job}").json()["state"]["status"] == "Queued"
    assert admin.put(mode, json={"mode": "online"}).status_code == 204
    assert settled(admin, job)["state"]["status"] == "Completed"
    assert admin.put(mode, json={"mode": "upside down"}).status_code == 400
    assert admin.put(own(centre, "/qpus/nowhere/mode"), json={"mode": "paused"}).status_code == 404


def test_the_audit_trail_tells_who_did_what(centre: Server, admin: httpx.Client) -> None:
    key = make_key(admin, centre, "zoe", name="audited")
    assert admin.patch(own(centre, "/instances/shop"), json={"tags": ["audited"]}).status_code == 200
    trail = admin.get(own(centre, "/audit"), params={"limit": 2}).json()["audit"]
    assert (trail[0]["action"], trail[0]["subject"]) == ("instances.change", "shop")
    assert trail[0]["facts"] == {"tags": ["audited"]}
    assert trail[1]["facts"]["user"] == "zoe"
    assert key not in admin.get(own(centre, "/audit")).text
    older = admin.get(own(centre, "/audit"), params={"limit": 1, "before": trail[1]["number"]}).json()[
        "audit"
    ]
    assert all(line["number"] < trail[1]["number"] for line in older)


def test_usage_agrees_everywhere_and_costs_what_the_rates_say(
    centre: Server, admin: httpx.Client, bell: QuantumCircuit
) -> None:
    with entering(centre, make_key(admin, centre, "pat", instances=["shop"]), "shop") as pat:
        crn = pat.headers["Service-CRN"]
        jobs = [submit(pat, bell, backend="ket_paced", shots=50) for _ in range(2)]
        batch = pat.post("/sessions", json={"mode": "batch", "backend": "ket_manila"}).json()["id"]
        jobs += [submit(pat, bell, session_id=batch) for _ in range(2)]
        session = pat.post("/sessions", json={"mode": "dedicated", "backend": "ket_manila"}).json()["id"]
        in_session = submit(pat, bell, session_id=session)
        for job in [*jobs, in_session]:
            assert settled(pat, job)["state"]["status"] == "Completed"
        for workload in (batch, session):
            pat.patch(f"/sessions/{workload}", json={"accepting_jobs": False})
            until(lambda w=workload: pat.get(f"/sessions/{w}").json()["state"] == "closed")
        of_jobs = sum(
            pat.get(f"/jobs/{job}/metrics").json()["usage"]["qpu_charge_time_seconds"] for job in jobs
        )
        of_session = pat.get(f"/sessions/{session}").json()["elapsed_time"]
        ledger = pat.get(own(centre, "/ledger")).json()["lines"]
        consumed = pat.get("/instances/usage").json()["usage_consumed_seconds"]
        analytics = pat.get("/analytics/usage").json()
        totals = pat.get(own(centre, "/ledger/totals"), params={"by": "backend"}).json()
        everything = of_jobs + of_session
        assert sum(line["seconds"] for line in ledger) == pytest.approx(everything, abs=1e-3)
        assert consumed == pytest.approx(everything, abs=1e-3)
        assert analytics["usage"] / 1e3 == pytest.approx(everything, abs=1e-3)
        assert totals["seconds"] == pytest.approx(everything, abs=1e-3)
        assert analytics["individual_jobs"]["count"] == 2
        assert (analytics["batch_sessions"]["count"], analytics["dedicated_sessions"]["count"]) == (1, 1)
        by_date = pat.get("/analytics/usage_grouped_by_date", params={"group_by": "instance"}).json()["data"]
        assert sum(day["usage"] for day in by_date) / 1e3 == pytest.approx(everything, abs=1e-3)
        assert {day["instance"] for day in by_date} == {crn}
        waits = [day["queue_time"] for day in by_date]
        assert sum(wait["count"] for wait in waits) == analytics["queue_time"]["count"] == 5

        for line in ledger:
            price = 3.0 if line["backend"] == "ket_paced" else 2.0
            assert line["cost"]["amount"] == pytest.approx(price * line["seconds"], abs=1e-5)
            assert line["cost"]["currency"] == "EUR"
        everywhere = sum(line["cost"]["amount"] for line in ledger)
        assert totals["cost"] == {"amount": pytest.approx(everywhere, abs=1e-5), "currency": "EUR"}
        of_groups = sum(total["cost"]["amount"] for total in totals["totals"])
        assert of_groups == pytest.approx(everywhere, abs=1e-5)
        shown = {i["name"]: i for i in pat.get(own(centre, "/instances")).json()["instances"]}["shop"]
        assert shown["consumed_seconds"] == pytest.approx(everything, abs=1e-3)
        assert shown["cost"]["amount"] == pytest.approx(everywhere, abs=1e-3)
        for job, rate in ((jobs[0], 3.0), (jobs[2], 2.0)):
            told = pat.get(own(centre, f"/jobs/{job}")).json()
            price = told["usage_cost"]["amount"]
            assert price == pytest.approx(rate * told["usage"]["qpu_charge_time_seconds"])
            assert pat.get(own(centre, f"/jobs/{job}/explain")).json()["usage_cost"]["amount"] == price
        table = list(
            csv.DictReader(io.StringIO(pat.get(own(centre, "/ledger"), params={"format": "csv"}).text))
        )
        assert [float(row["seconds"]) for row in table] == [line["seconds"] for line in ledger]
        assert {row["currency"] for row in table} == {"EUR"}

        split = pat.get(own(centre, f"/sessions/{session}/usage")).json()
        parts = split["on_qpu_seconds"] + split["classical_seconds"] + split["idle_seconds"]
        assert parts == pytest.approx(split["billed_seconds"], abs=5e-3)
        assert split["billed_seconds"] == pytest.approx(of_session, abs=1e-3)
        assert split["as_batch_seconds"] <= split["billed_seconds"]
        for name, seconds in (("cost", "billed_seconds"), ("cost_as_batch", "as_batch_seconds")):
            assert split[name]["amount"] == pytest.approx(2.0 * split[seconds], abs=1e-5)


@pytest.mark.feature("Instances", "No usage left: `usage()` says 0, `run()` warns, and the job waits")
def test_the_client_shows_that_nothing_remains_and_what_a_raised_limit_gives(
    centre: Server, admin: httpx.Client, bell: QuantumCircuit
) -> None:
    """``modes.md`` F11, F07, F08: an allocation, a limit above it, and usage above both."""
    service = connect(centre.url, make_key(admin, centre, "eve", instances=["spent"]), instance="spent")
    backend = service.backend("ket_paced")
    SamplerV2(backend).run([bell], shots=50).result()
    spent = own(centre, "/instances/spent")
    assert admin.patch(spent, json={"limit_seconds": 0.5}).status_code == 200
    told = service.usage()
    assert told["usage_allocation_seconds"] < told["usage_limit_seconds"] < told["usage_consumed_seconds"]
    assert told["usage_limit_reached"] is True
    assert told["usage_remaining_seconds"] == 0
    with pytest.warns(UserWarning, match="has met its usage limit"):
        job = SamplerV2(backend).run([bell], shots=50)
    assert job.status() == "QUEUED"
    with entering(centre, centre.key, "spent") as inside:
        why = inside.get(own(centre, f"/jobs/{job.job_id()}/explain")).json()
        assert why["reason"]["why"] == "usage_limit"
        assert "of its limit of 0.5 s" in why["reason"]["message"]
        assert why["start"] is None
    assert admin.patch(spent, json={"limit_seconds": 60}).status_code == 200
    assert job.result()[0].data.c.num_shots == 50
    told = service.usage()
    assert told["usage_limit_reached"] is False
    assert told["usage_remaining_seconds"] == pytest.approx(60 - told["usage_consumed_seconds"])


def test_verbs_show_usage_with_its_cost(centre: Server, admin: httpx.Client, bell: QuantumCircuit) -> None:
    session = admin.post("/sessions", json={"mode": "dedicated", "backend": "ket_manila"}).json()["id"]
    job, inside = submit(admin, bell), submit(admin, bell, session_id=session)
    settled(admin, job)
    settled(admin, inside)
    admin.patch(f"/sessions/{session}", json={"accepting_jobs": False})

    def said(*verb: str) -> str:
        found = CliRunner().invoke(app, [*verb, "--data", str(centre.data)])
        assert found.exit_code == 0, found.output
        return found.output

    usage = said("usage")
    assert re.search(r"^lab +individual_jobs .*\d$", usage, re.MULTILINE)
    assert "cost (EUR)" in usage
    assert re.search(r"s, [\d.,]+ EUR in all", usage)
    assert datetime.now(UTC).strftime("%Y-%m-%d ") in said("usage", "--by", "date")
    assert "T00:00" not in said("usage", "--by", "date")
    row = json.loads(said("jobs", "show", job, "--json"))
    assert (row["cost"], row["currency"]) == (pytest.approx(2.0 * row["usage_seconds"]), "EUR")
    row = json.loads(said("sessions", "show", session, "--json"))
    assert row["cost"] == pytest.approx(2.0 * row["usage_seconds"])
    parts = row["on_qpu_seconds"] + row["classical_seconds"] + row["idle_seconds"]
    assert parts == pytest.approx(row["usage_seconds"], abs=1e-3)
    assert row["cost_as_batch"] == pytest.approx(2.0 * row["as_batch_seconds"])
    for words in ("of it classical (s)", "as a batch (s)", "cost as a batch"):
        assert words in said("sessions", "show", session)
    lab = next(one for one in json.loads(said("instances", "list", "--json")) if one["name"] == "lab")
    assert lab["cost"] > 0
    assert "EUR" in said("instances", "list")


def test_users_see_their_own_lines_only(centre: Server, admin: httpx.Client, bell: QuantumCircuit) -> None:
    first = make_key(admin, centre, "lea", instances=["lab"])
    second = make_key(admin, centre, "leo", instances=["lab"])
    with entering(centre, first, "lab") as lea, entering(centre, second, "lab") as leo:
        job = submit(lea, bell)
        settled(lea, job)
        assert [line["job_id"] for line in lea.get(own(centre, "/ledger")).json()["lines"]] == [job]
        assert leo.get(own(centre, "/ledger")).json()["lines"] == []
        assert leo.get("/analytics/usage").json()["usage"] == 0
        assert leo.get(own(centre, "/ledger"), params={"instance": "shop"}).status_code == 404
        assert any(line["job_id"] == job for line in admin.get(own(centre, "/ledger")).json()["lines"])


@pytest.mark.parametrize(
    ("path", "params", "field"),
    [
        ("/analytics/usage_grouped", {}, "group_by"),
        ("/analytics/usage_grouped", {"group_by": "colour"}, "group_by"),
        ("/analytics/usage", {"interval_start": "yesterday"}, "interval_start"),
        ("/analytics/usage", {"interval_start": "2030-01-01T00:00:00Z"}, "interval_start"),
        ("/analytics/usage", {"what": "1"}, "what"),
        ("/ketline/v1/ledger", {"start": "2030-01-01", "end": "2029-01-01"}, "start"),
        ("/ketline/v1/ledger/totals", {"start": "2030-01-01", "end": "2030-01-01"}, "start"),
    ],
)
def test_wrong_requests_about_usage_name_the_field(
    centre: Server, admin: httpx.Client, path: str, params: dict[str, str], field: str
) -> None:
    ours = path.startswith("/ketline")
    answer = admin.get(f"{centre.url}{path}" if ours else path, params=params)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["message"].startswith(f"{field}:")


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def test_nothing_starts_during_maintenance_and_all_goes_on_after(
    centre: Server, admin: httpx.Client, bell: QuantumCircuit
) -> None:
    windows = own(centre, "/qpus/ket_manila/windows")
    batch = admin.post("/sessions", json={"mode": "batch", "backend": "ket_manila"}).json()["id"]
    coming = admin.post(windows, json={"start": soon(1800), "end": soon(3600)}).json()
    assert admin.get(f"/sessions/{batch}").json()["interrupted_at"] == coming["start"]
    assert admin.delete(f"{windows}/{coming['id']}").status_code == 204
    assert admin.get(f"/sessions/{batch}").json()["interrupted_at"] is None
    made = admin.post(windows, json={"end": soon(3600), "reason": "helium"}).json()
    assert (made["kind"], made["reason"]) == ("maintenance", "helium")
    assert "helium" in admin.get("/backends/ket_manila/status").json()["message"]
    job = submit(admin, bell)
    assert admin.get(f"/jobs/{job}").json()["state"]["status"] == "Queued"
    assert admin.delete(f"{windows}/{made['id']}").status_code == 204
    assert settled(admin, job)["state"]["status"] == "Completed"
    assert admin.get(windows).json()["windows"] == []


def test_a_reservation_is_for_one_instance(centre: Server, admin: httpx.Client, bell: QuantumCircuit) -> None:
    windows = own(centre, "/qpus/ket_manila/windows")
    made = admin.post(windows, json={"end": soon(3600), "instance": "shop"}).json()
    outside = submit(admin, bell)
    with entering(centre, make_key(admin, centre, "ren", instances=["shop"]), "shop") as inside:
        assert settled(inside, submit(inside, bell))["state"]["status"] == "Completed"
    assert admin.get(f"/jobs/{outside}").json()["state"]["status"] == "Queued"
    with entering(centre, make_key(admin, centre, "rob", instances=["lab"]), "lab") as rob:
        assert rob.get(windows).json()["windows"][0]["instance"] is None
        assert rob.post(windows, json={"end": soon(60)}).status_code == 403
    assert admin.delete(f"{windows}/{made['id']}").status_code == 204
    assert settled(admin, outside)["state"]["status"] == "Completed"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "end"),
        ({"end": "tomorrow"}, "end"),
        ({"end": "2020-01-01T00:00:00Z"}, "end"),
        ({"end": "2999-01-01T00:00:00Z"}, "end"),
        ({"end": "2020-01-01T00:00:00Z", "who": "me"}, "who"),
    ],
)
def test_a_wrong_window_names_the_field(
    centre: Server, admin: httpx.Client, body: dict[str, Any], field: str
) -> None:
    answer = admin.post(own(centre, "/qpus/ket_manila/windows"), json=body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["message"].startswith(f"{field}:")


@pytest.mark.feature("Backends", "`properties(datetime=…)`, `target_history()` and `calibration_id`: history")
def test_the_history_of_a_devices_properties_through_the_client(
    centre: Server, admin: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each calibration leaves its own figures; earlier ones are found by their time and by their id."""
    monkeypatch.setenv("IAM_URL", centre.url)
    began = datetime.now(UTC)

    def calibrated() -> tuple[str, datetime]:
        def last() -> Any:
            return service.backend("ket_manila").properties(refresh=True).last_update_date

        before = last()
        # An id tells the second.
        time.sleep(max(0.0, 1.05 - (datetime.now(UTC) - before).total_seconds()))
        assert admin.post(own(centre, "/qpus/ket_manila/calibrate")).status_code == 204
        until(lambda: last() > before)
        at = last().astimezone(UTC)
        return f"ket_manila-{at:%Y%m%dT%H%M%SZ}", at

    service = connect(centre.url, centre.key, instance="lab")
    first, first_at = calibrated()
    second, second_at = calibrated()
    backend = service.backend("ket_manila")
    now = backend.properties()
    earlier = backend.properties(datetime=first_at + (second_at - first_at) / 2)
    recorded = backend.properties(datetime=began - timedelta(minutes=1))
    assert (earlier.last_update_date, now.last_update_date) == (first_at, second_at)
    assert len({found.t1(0) for found in (recorded, earlier, now)}) == 3
    assert backend.properties(datetime=datetime(2001, 1, 1, tzinfo=UTC)) is None
    assert backend.target_history(datetime=first_at).qubit_properties[0].t1 == pytest.approx(earlier.t1(0))
    for name, found in ((first, earlier), (second, now)):
        chosen = service.backend("ket_manila", calibration_id=name)
        assert chosen.properties().t1(0) == found.t1(0)
        assert chosen.calibration_id == name
    for wrong in ("ket_manila-20010101T000000Z", "ket_manila-20011399T000000Z", f"{first}x", "ket_paced"):
        answer = admin.get("/backends/ket_manila/properties", params={"calibration_id": wrong})
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (404, 9706)
    shown = next(q for q in admin.get(own(centre, "/qpus")).json()["qpus"] if q["name"] == "ket_manila")
    assert datetime.fromisoformat(shown["process"]["last_calibration"]) >= second_at
