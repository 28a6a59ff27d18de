"""Verbs on a data folder: keys, instances, QPUs, jobs, sessions; with and without a server."""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from shell import Ketline, serving

GRANT = "urn:ibm:params:oauth:grant-type:apikey"


def exchanged(url: str, key: str) -> str | None:
    """The token for a key; None when it is refused."""
    form = urllib.parse.urlencode({"grant_type": GRANT, "apikey": key}).encode()
    try:
        with urllib.request.urlopen(f"{url}/identity/token", form, timeout=20) as answer:
            return str(json.load(answer)["access_token"])
    except urllib.error.HTTPError as error:
        error.close()
        return None


def test_env_prints_lines_for_a_shell_before_the_first_start(ketline: Ketline, tmp_path: Path) -> None:
    folder = tmp_path / "it's new"
    lines = ketline("env", "--data", folder).out
    names = ("IAM_URL", "GLOBAL_SEARCH_URL", "GLOBAL_CATALOG_URL")
    names += ("QISKIT_IBM_URL", "QISKIT_IBM_TOKEN", "QISKIT_IBM_INSTANCE")
    script = f"{lines}\nfor name in {' '.join(names)}; do echo ${{!name}}; done"
    told = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
    values = dict(zip(names, told.splitlines(), strict=True))
    assert values["IAM_URL"] == "http://127.0.0.1:8000"
    assert values["GLOBAL_CATALOG_URL"] == "http://127.0.0.1:8000/catalog/api/v1"
    assert values["QISKIT_IBM_URL"] == "http://127.0.0.1:8000/experimental/api/v1"
    assert values["QISKIT_IBM_INSTANCE"].startswith("crn:v1:bluemix:public:quantum-computing:us-east:a/")
    assert values == ketline("env", "--data", folder, "--json").json
    key_files = [
        path
        for path in folder.rglob("*")
        if path.is_file() and values["QISKIT_IBM_TOKEN"] in path.read_bytes().decode("latin1")
    ]
    assert [stat.S_IMODE(path.stat().st_mode) for path in key_files] == [0o600]


def test_env_names_another_instance(ketline: Ketline, data: Path) -> None:
    crns = {row["name"]: row["crn"] for row in ketline("instances", "list", "--data", data, "--json").json}
    assert set(crns) == {"default", "open"}
    told = ketline("env", "--data", data, "--instance", "open", "--json").json
    assert told["QISKIT_IBM_INSTANCE"] == crns["open"]
    refused = ketline("env", "--data", data, "--instance", "opn")
    assert refused.code == 1
    assert "opn" in refused.err


def test_env_follows_the_configuration(ketline: Ketline, tmp_path: Path) -> None:
    file = tmp_path / "ketline.toml"
    file.write_text('[server]\npublic_url = "https://q.centre.example/"\n')
    told = ketline("env", "--data", tmp_path / "centre", "--config", file, "--json").json
    assert told["QISKIT_IBM_URL"] == "https://q.centre.example/experimental/api/v1"
    file.write_text("[server]\nport = 0\n")
    refused = ketline("env", "--data", tmp_path / "centre", "--config", file)
    assert (refused.code, "Start it first" in refused.err) == (1, True)


def test_env_without_the_first_key_says_what_to_do(ketline: Ketline, data: Path) -> None:
    (data / "administrator.key").unlink()
    refused = ketline("env", "--data", data)
    assert refused.code == 1
    assert "ketline keys create" in refused.err


@pytest.mark.parametrize(
    "verb",
    [("keys", "list"), ("instances", "list"), ("qpus", "list"), ("jobs", "list"), ("sessions", "list")],
)
def test_a_folder_without_data_is_refused_and_not_made(
    ketline: Ketline, tmp_path: Path, verb: tuple[str, ...]
) -> None:
    refused = ketline(*verb, "--data", tmp_path / "typo")
    assert refused.code == 1
    assert "there is no data of a server" in refused.err
    assert not (tmp_path / "typo").exists()


def test_a_database_that_is_none_is_told(ketline: Ketline, tmp_path: Path) -> None:
    (tmp_path / "ketline.db").write_text("not a database, but long enough to be looked at" * 100)
    refused = ketline("keys", "list", "--data", tmp_path)
    assert refused.code == 1
    assert len(refused.err.splitlines()) == 1
    assert "unexpected" not in refused.err


@pytest.mark.parametrize("verb", ["serve", "env"])
def test_a_folder_that_cannot_be_made_is_told(ketline: Ketline, tmp_path: Path, verb: str) -> None:
    (tmp_path / "file").write_text("")
    refused = ketline(verb, "--data", tmp_path / "file" / "centre")
    assert refused.code == 1
    assert str(tmp_path / "file") in refused.err
    assert "unexpected" not in refused.err


def test_keys_are_made_listed_and_revoked(ketline: Ketline, data: Path) -> None:
    made = ketline(
        "keys", "create", "--data", data, "--user", "ada", "--name", "laptop", "--instance", "open", "--json"
    ).json
    assert made["key"].startswith("ketline-")
    rows = {row["key_id"]: row for row in ketline("keys", "list", "--data", data, "--json").json}
    assert rows[made["key_id"]]["user"] == "ada"
    assert rows[made["key_id"]]["instances"] == ["open"]
    assert made["key"] not in json.dumps(rows)
    revoked = ketline("keys", "revoke", made["key_id"], "--data", data, "--json").json
    assert revoked["revoked_at"] is not None
    assert "ada" in ketline("keys", "list", "--data", data).out


def test_a_key_is_printed_alone_so_that_a_script_can_take_it(ketline: Ketline, data: Path) -> None:
    answer = ketline("keys", "create", "--data", data, "--user", "ada")
    assert answer.out.startswith("ketline-")
    assert len(answer.out.split()) == 1
    assert "isn't shown again" in answer.err


def test_a_key_for_an_unknown_instance_and_an_unknown_key_are_refused(ketline: Ketline, data: Path) -> None:
    refused = ketline("keys", "create", "--data", data, "--user", "ada", "--instance", "opn")
    assert (refused.code, "opn" in refused.err) == (1, True)
    refused = ketline("keys", "revoke", "nobody", "--data", data)
    assert (refused.code, "nobody" in refused.err) == (1, True)


def test_an_instance_is_made_with_figures_of_its_own(ketline: Ketline, data: Path) -> None:
    ketline(
        *("instances", "create", "--data", data, "--name", "lab", "--plan", "open", "--tag", "physics"),
        *("--set", "limit_seconds=1200"),
    )
    rows = {row["name"]: row for row in ketline("instances", "list", "--data", data, "--json").json}
    assert (rows["lab"]["plan"], rows["lab"]["limit_seconds"], rows["lab"]["tags"]) == (
        "open",
        1200,
        ["physics"],
    )
    assert rows["open"]["limit_seconds"] == 600


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--name", "lab", "--plan", "opne"], 'plan: no plan "opne"; did you mean "open"?'),
        (["--name", "open"], "open"),
        (["--name", "lab", "--region", "mars"], "region: input should be 'us-east' or 'eu-de'"),
        (["--name", "lab", "--set", "limit_secs=3"], 'unknown key; did you mean "limit_seconds"?'),
        (["--name", "lab", "--set", "limit_seconds=-3"], "limit_seconds: input should be greater than 0"),
        (["--name", "lab", "--set", "limit_seconds=lots"], "limit_seconds: input should be a valid number"),
        (["--name", "/"], "name: string should match pattern"),
    ],
)
def test_a_wrong_instance_is_refused_by_name(
    ketline: Ketline, data: Path, arguments: list[str], expected: str
) -> None:
    refused = ketline("instances", "create", "--data", data, *arguments)
    assert refused.code == 1
    assert expected in refused.err
    assert len(ketline("instances", "list", "--data", data, "--json").json) == 2


def test_qpus_are_those_of_the_configuration(ketline: Ketline, data: Path, tmp_path: Path) -> None:
    rows = ketline("qpus", "list", "--data", data, "--json").json
    assert [(row["name"], row["lanes"], row["mode"]) for row in rows[:2]] == [
        ("ket_fez", 5, "online"),
        ("ket_manila", 5, "online"),
    ]
    file = tmp_path / "ketline.toml"
    file.write_text('[[qpus]]\nname = "lab_one"\ndevice = "torino"\nlanes = 2\n')
    (row,) = ketline("qpus", "list", "--data", data, "--config", file, "--json").json
    assert (row["name"], row["device"], row["lanes"]) == ("lab_one", "torino", 2)


def test_nothing_to_list_is_said(ketline: Ketline, data: Path) -> None:
    assert ketline("jobs", "list", "--data", data).out == "There are no such jobs.\n"
    assert ketline("jobs", "list", "--data", data, "--json").json == []
    assert ketline("sessions", "list", "--data", data, "--json").json == []


@pytest.mark.parametrize("verb", ["jobs", "sessions"])
def test_an_unknown_id_is_refused(ketline: Ketline, data: Path, verb: str) -> None:
    refused = ketline(verb, "show", "nothing", "--data", data)
    assert (refused.code, "nothing" in refused.err) == (1, True)


def test_serve_answers_takes_changes_beside_it_and_stops_on_sigterm(
    ketline: Ketline, data: Path, tmp_path: Path
) -> None:
    with serving(data, "--port", "0") as server:
        server.wait_until_ready()
        told = ketline("env", "--data", data, "--json").json
        assert told["IAM_URL"] == server.url
        assert exchanged(server.url, told["QISKIT_IBM_TOKEN"]) is not None

        made = ketline("keys", "create", "--data", data, "--user", "ada", "--json").json
        assert exchanged(server.url, made["key"]) is not None
        assert exchanged(server.url, made["key"][:-1]) is None

        second = ketline("serve", "--data", data, "--port", "0")
        assert second.code == 1
        assert str(server.process.pid) in second.err
        # The second server's end doesn't hide the first.
        assert ketline("env", "--data", data, "--json").json["IAM_URL"] == server.url

        port = server.url.rsplit(":", 1)[-1]
        taken = ketline("serve", "--data", tmp_path / "other", "--port", port)
        assert (taken.code, port in taken.err) == (1, True)

        assert server.stop() == 0
        assert server.process.stderr is not None
        assert server.process.stderr.read() == ""
    told = ketline("env", "--data", data, "--json").json
    assert told["IAM_URL"] == "http://127.0.0.1:8000"


def test_the_note_of_a_server_that_was_killed_is_not_believed(ketline: Ketline, data: Path) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    (data / "server.json").write_text(json.dumps({"url": "http://127.0.0.1:9", "pid": child.pid}))
    assert ketline("env", "--data", data, "--json").json["IAM_URL"] == "http://127.0.0.1:8000"
    (data / "server.json").write_text("{")
    assert ketline("env", "--data", data, "--json").json["IAM_URL"] == "http://127.0.0.1:8000"


def test_the_folder_may_come_from_the_environment(
    ketline: Ketline, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KETLINE_DATA", os.fspath(data))
    lines = ketline("env").out.splitlines()
    assert all(shlex.split(line)[0] == "export" for line in lines)
