"""Verbs that ask a running server: usage, audit, modes of QPUs, changes of instances."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from centre_lab import bell
from shell import Ketline, Serving, serving

from ketline.cli.data_folder import forget_server, note_server
from ketline.cli.remote import Remote


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("remote") / "centre", "--port", "0") as started:
        started.wait_until_ready()
        yield started


def test_a_qpu_is_paused_resumed_calibrated_and_retired(ketline: Ketline, server: Serving) -> None:
    def mode() -> tuple[str, str]:
        rows = ketline("qpus", "list", "--data", server.data, "--json").json
        return next((row["mode"], row["mode_reason"]) for row in rows if row["name"] == "ket_manila")

    paused = ketline("qpus", "pause", "ket_manila", "--data", server.data, "--reason", "helium refill")
    assert (paused.code, paused.out) == (0, "ket_manila is paused.\n"), paused.err
    assert mode() == ("paused", "helium refill")
    resumed = ketline("qpus", "resume", "ket_manila", "--data", server.data, "--json").json
    assert resumed == {"name": "ket_manila", "mode": "online", "reason": ""}
    assert mode()[0] == "online"
    assert ketline("qpus", "calibrate", "ket_manila", "--data", server.data).code == 0
    assert ketline("qpus", "retire", "ket_manila", "--data", server.data).code == 0
    assert mode()[0] == "retired"

    refused = ketline("qpus", "pause", "ket/nothing", "--data", server.data)
    assert (refused.code, len(refused.err.splitlines())) == (1, 1)
    assert "ket/nothing" in refused.err

    lines = ketline("audit", "--data", server.data, "--subject", "ket_manila", "--json").json
    assert len(lines) >= 3
    assert all(line["subject"] == "ket_manila" for line in lines)
    told = ketline("audit", "--data", server.data).out
    assert "helium refill" in told
    assert "administrator" in told
    assert lines[0]["actor"] not in told


def test_an_instance_is_changed(ketline: Ketline, server: Serving) -> None:
    def found() -> dict[str, object]:
        rows = ketline("instances", "list", "--data", server.data, "--json").json
        return next(row for row in rows if row["name"] == "lab")

    made = ("instances", "create", "--data", server.data, "--name", "lab", "--plan", "open")
    assert ketline(*made).code == 0
    change = ("instances", "set", "lab", "--data", server.data)
    assert ketline(*change, "--set", "limit_seconds=7200").code == 0
    assert found()["limit_seconds"] == 7200
    assert ketline(*change, "--set", "limit_seconds=none").code == 0
    assert found()["limit_seconds"] is None
    assert ketline(*change, "--reset", "limit_seconds", "--plan", "open").code == 0
    assert found()["limit_seconds"] == 600
    assert ketline(*change, "--archived", "--json").json["archived"] is True
    assert found()["archived"] is True
    assert ketline(*change, "--active").code == 0
    assert found()["archived"] is False

    assert ketline(*change).code == 2
    for wrong in (["--set", "limit_secs=1"], ["--set", "limit_seconds=lots"], ["--plan", "opne"]):
        refused = ketline(*change, *wrong)
        assert (refused.code, len(refused.err.splitlines())) == (1, 1), refused.err
        assert wrong[-1].partition("=")[0] in refused.err
    assert ketline("instances", "set", "nobody", "--plan", "open", "--data", server.data).code == 1


def test_maintenance_and_reservations_are_announced_and_withdrawn(ketline: Ketline, server: Serving) -> None:
    where = ("ket_fez", "--data", server.data)
    assert ketline("qpus", "windows", *where).out == "Nothing is announced.\n"
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=30)
    east = midnight.astimezone(timezone(timedelta(hours=2)))
    four, five = (midnight + timedelta(hours=hours) for hours in (4, 5))
    span = ("--start", east.isoformat(), "--end", four.replace(tzinfo=None).isoformat())
    maintenance = ketline("qpus", "maintain", *where, *span, "--reason", "cooling", "--json").json
    assert datetime.fromisoformat(maintenance["start"]) == midnight
    assert datetime.fromisoformat(maintenance["end"]) == four
    reservation = ("--instance", "default", "--start", four.isoformat(), "--end", five.isoformat())
    reserved = ketline("qpus", "reserve", *where, *reservation)
    assert reserved.code == 0, reserved.err
    rows = ketline("qpus", "windows", *where, "--json").json
    assert [(row["kind"], row["reason"]) for row in rows] == [("maintenance", "cooling"), ("reservation", "")]
    assert ketline("qpus", "release", "ket_fez", rows[0]["id"], "--data", server.data).code == 0
    assert len(ketline("qpus", "windows", *where, "--json").json) == 1
    for wrong in (["--end", "tomorrow"], ["--start", five.isoformat(), "--end", four.isoformat()]):
        refused = ketline("qpus", "maintain", *where, *wrong)
        assert (refused.code, len(refused.err.splitlines())) == (1, 1)
    assert ketline("qpus", "release", "ket_fez", "nothing", "--data", server.data).code == 1


def test_jobs_and_sessions_of_anybody_are_shown_and_ended(ketline: Ketline, server: Serving) -> None:
    folder = ("--data", server.data)
    key = ketline("keys", "create", *folder, "--user", "lin", "--instance", "default", "--json").json["key"]
    lin = Remote(server.url, key)
    crn = lin.instances()["default"]
    assert ketline("qpus", "pause", "ket_fez", *folder).code == 0

    def opened(mode: str) -> str:
        wanted = {"mode": mode, "backend": "ket_fez"}
        return str(lin.ask("POST", "/api/v1/sessions", body=wanted, crn=crn)["id"])

    def submitted(session: str | None) -> str:
        wanted = {
            "program_id": "sampler",
            "backend": "ket_fez",
            "params": json.loads(bell(gate="cz")),
            "tags": ["night"],
        }
        body = wanted if session is None else {**wanted, "session_id": session}
        return str(lin.ask("POST", "/api/v1/jobs", body=body, crn=crn)["id"])

    batch, session = opened("batch"), opened("dedicated")
    alone, inside = submitted(None), submitted(session)
    rows = {row["job_id"]: row for row in ketline("jobs", "list", *folder, "--pending", "--json").json}
    assert set(rows) == {alone, inside}
    assert (rows[alone]["user"], rows[alone]["instance"], rows[alone]["doing"]) == (
        "lin",
        "default",
        "queued",
    )
    assert ketline("jobs", "list", *folder, "--tag", "day", "--json").json == []
    assert alone in ketline("jobs", "list", *folder, "--instance", "default", "--tag", "night").out

    assert ketline("jobs", "cancel", alone, *folder).code == 0
    assert ketline("jobs", "show", alone, *folder, "--json").json["status"] == "cancelled"
    again = ketline("jobs", "cancel", alone, *folder)
    assert (again.code, len(again.err.splitlines())) == (1, 1)

    assert ketline("sessions", "close", batch, *folder).code == 0
    assert ketline("sessions", "cancel", session, *folder).code == 0
    states = {row["workload_id"]: row["state"] for row in ketline("sessions", "list", *folder, "--json").json}
    assert states == {batch: "closed", session: "closed"}
    assert ketline("sessions", "list", *folder, "--open", "--json").json == []
    shown = ketline("jobs", "show", inside, *folder).out
    assert "cancelled" in shown
    assert "what to do" in shown
    assert "dedicated" not in ketline("sessions", "show", session, *folder).out
    assert ketline("qpus", "resume", "ket_fez", *folder).code == 0


def test_usage_of_a_centre_where_nothing_ran(ketline: Ketline, server: Serving, tmp_path: Path) -> None:
    assert ketline("usage", "--data", server.data).out == "Nothing was used.\n"
    for group in ("instance", "backend", "user_id", "date"):
        assert ketline("usage", "--data", server.data, "--by", group, "--json").json["seconds"] == 0
    file = tmp_path / "ledger.csv"
    assert ketline("usage", "--data", server.data, "--csv", file).code == 0
    (header,) = csv.reader(file.read_text().splitlines())
    assert {"instance", "job_id", "started_at", "ended_at", "seconds", "rule"} <= set(header)
    refused = ketline("usage", "--data", server.data, "--start", "yesterday")
    assert (refused.code, "start" in refused.err) == (1, True)


@pytest.mark.parametrize(
    "verb",
    [("usage",), ("audit",), ("qpus", "pause", "ket_fez"), ("instances", "set", "open", "--plan", "flex")],
)
def test_without_a_server_they_say_how_to_start_one(
    ketline: Ketline, data: Path, verb: tuple[str, ...]
) -> None:
    refused = ketline(*verb, "--data", data)
    assert refused.code == 1
    assert f"ketline serve --data {data}" in refused.err


def test_verbs_on_this_machine_need_no_proxy(ketline: Ketline, data: Path, server: Serving) -> None:
    """A server behind a proxy tells clients the proxy's address; verbs go to the server itself."""
    note_server(data, "https://nobody.example", server.url)
    (data / "administrator.key").write_text((server.data / "administrator.key").read_text())
    assert ketline("audit", "--data", data).code == 0
    told = ketline("env", "--data", data, "--json").json
    assert told["IAM_URL"] == "https://nobody.example"


def test_verbs_beside_a_server_know_its_plans(ketline: Ketline, data: Path, tmp_path: Path) -> None:
    config = tmp_path / "ketline.toml"
    config.write_text("[plans.course]\nlimit_seconds = 600\n")
    made = ("instances", "create", "--data", data, "--plan", "course", "--name")
    assert ketline(*made, "ada", "--config", config).code == 0
    note_server(data, "http://127.0.0.1:9", "http://127.0.0.1:9", config)

    def limit(*options: object) -> float | None:
        rows = ketline("instances", "list", "--data", data, "--json", *options).json
        return next(row["limit_seconds"] for row in rows if row["name"] == "ada")

    assert limit() == 600
    other = tmp_path / "other.toml"
    other.write_text("[plans.course]\nlimit_seconds = 900\n")
    assert limit("--config", other) == 900
    forget_server(data)
    refused = ketline(*made, "lin")
    assert (refused.code, "course" in refused.err) == (1, True)


def test_a_server_that_does_not_answer_is_told(ketline: Ketline, data: Path) -> None:
    note_server(data, "http://127.0.0.1:9", "http://127.0.0.1:9")
    refused = ketline("audit", "--data", data)
    assert refused.code == 1
    assert "http://127.0.0.1:9 doesn't answer" in refused.err


def test_a_revoked_administrator_is_refused(ketline: Ketline, server: Serving, data: Path) -> None:
    stranger = data / "administrator.key"
    note_server(data, server.url, server.url)
    refused = ketline("audit", "--data", data)
    assert (refused.code, len(refused.err.splitlines())) == (1, 1)
    assert stranger.read_text().strip() not in refused.err
    stranger.unlink()
    assert "isn't there any more" in ketline("audit", "--data", data).err
