"""``ketline doctor``: a sound folder, a damaged one, and what a crash leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
import urllib.request
from pathlib import Path

import pytest
from shell import Ketline, Serving, serving

from ketline.cli.remote import Remote

_OLD = 3_600


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a server has accepted two jobs, and is gone."""
    folder = tmp_path_factory.mktemp("doctor") / "centre"
    with serving(folder, "--port", "0") as server:
        server.wait_until_ready()
        remote = Remote.of(folder)
        crn = remote.instances()["default"]
        for _ in range(2):
            body = {"program_id": "sampler", "backend": "ket_manila", "params": {"pubs": []}}
            remote.ask("POST", "/api/v1/jobs", body=body, crn=crn)
        _wait_for_the_end(server, remote, crn)
        assert server.stop() == 0
    return folder


def _wait_for_the_end(server: Serving, remote: Remote, crn: str) -> None:
    deadline = time.monotonic() + 60
    while remote.ask("GET", "/api/v1/jobs", query={"pending": "true"}, crn=crn)["count"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with urllib.request.urlopen(f"{server.url}/ketline/v1/health", timeout=20) as answer:
        assert json.load(answer)["jobs"]["unfinished"] == 0


def test_a_sound_folder_is_well_and_is_left_as_it_is(ketline: Ketline, worked: Path) -> None:
    before = {path: path.read_bytes() for path in (worked / "files").rglob("*") if path.is_file()}
    answer = ketline("doctor", "--data", worked)
    assert answer.code == 0, answer.out
    assert answer.out.startswith("2 jobs, 0 sessions and batches")
    assert answer.out.endswith("All is well.\n")
    assert {path: path.read_bytes() for path in before} == before
    told = ketline("doctor", "--data", worked, "--json").json
    assert (told["jobs"], told["findings"], told["leftovers"]) == (2, [], [])


def test_files_of_no_job_are_told_and_removed_when_wanted(ketline: Ketline, worked: Path) -> None:
    left = worked / "files" / "payloads" / "zz" / "nobodyszz"
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_bytes(b"{}")
    assert ketline("doctor", "--data", worked, "--json").json["leftovers"] == [], "it may be under way"
    old = time.time() - _OLD
    os.utime(left, (old, old))
    answer = ketline("doctor", "--data", worked)
    assert (answer.code, left.exists()) == (0, True)
    assert "1 files (0.0 MB) of no job lie about" in answer.out
    assert ketline("doctor", "--data", worked, "--tidy").code == 0
    assert not left.exists()


def test_what_is_missing_is_named_and_the_exit_code_tells(ketline: Ketline, worked: Path) -> None:
    payload = next(path for path in (worked / "files" / "payloads").rglob("*") if path.is_file())
    kept = payload.read_bytes()
    payload.unlink()
    with contextlib.closing(sqlite3.connect(worked / "ketline.db")) as tables, tables:
        tables.execute("UPDATE job_counts SET jobs = jobs + 1")
    try:
        answer = ketline("doctor", "--data", worked)
        assert answer.code == 1
        assert f"WRONG files: {payload.name} has params that aren't there." in answer.out
        assert "WRONG counts:" in answer.out
    finally:
        payload.write_bytes(kept)
        with contextlib.closing(sqlite3.connect(worked / "ketline.db")) as tables, tables:
            tables.execute("UPDATE job_counts SET jobs = jobs - 1")


def test_a_folder_without_data_and_a_database_of_another_version_are_refused(
    ketline: Ketline, tmp_path: Path, data: Path
) -> None:
    refused = ketline("doctor", "--data", tmp_path / "nothing")
    assert (refused.code, refused.out) == (1, "")
    assert "no data of a server" in refused.err
    with contextlib.closing(sqlite3.connect(data / "ketline.db")) as tables, tables:
        tables.execute("UPDATE alembic_version SET version_num = '0001'")
    old = ketline("doctor", "--data", data)
    assert old.code == 1
    assert "schema 0001" in old.err


def test_nothing_is_removed_beside_a_running_server(ketline: Ketline, tmp_path: Path) -> None:
    folder = tmp_path / "centre"
    with serving(folder, "--port", "0") as server:
        server.wait_until_ready()
        assert ketline("doctor", "--data", folder).code == 0
        refused = ketline("doctor", "--data", folder, "--tidy")
        assert refused.code == 1
        assert "a server is at work" in refused.err
