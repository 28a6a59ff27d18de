"""Keys for many users at once: all, or none."""

from __future__ import annotations

import csv
import stat
from pathlib import Path

import pytest
from shell import Ketline


def test_a_class_gets_keys_and_instances_of_their_own(ketline: Ketline, data: Path, tmp_path: Path) -> None:
    file, output = tmp_path / "class.csv", tmp_path / "keys.csv"
    file.write_text("user,name\nada,laptop\nlin,\n", encoding="utf-8-sig")
    made = ketline(
        "keys", "import", file, "--data", data, "--plan", "open", "--account", "course", "--output", output
    )
    assert (made.code, made.out) == (0, "")
    assert "2 keys" in made.err
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    rows = list(csv.DictReader(output.read_text().splitlines()))
    assert [(row["user"], row["instances"]) for row in rows] == [("ada", "ada"), ("lin", "lin")]
    keys = {row["user"]: row for row in ketline("keys", "list", "--data", data, "--json").json}
    assert keys["ada"]["instances"] == ["ada"]
    assert keys["ada"]["name"] == "laptop"
    assert rows[0]["key"].split("-")[1] == keys["ada"]["key_id"]
    plans = {row["name"]: row for row in ketline("instances", "list", "--data", data, "--json").json}
    assert plans["lin"]["plan"] == "open"
    assert "key" not in keys["ada"]


def test_a_group_shares_an_instance(ketline: Ketline, data: Path, tmp_path: Path) -> None:
    file = tmp_path / "group.csv"
    file.write_text("user,instances\nada,default open\nlin,\n")
    made = ketline("keys", "import", file, "--data", data, "--instance", "open", "--json").json
    assert [row["instances"] for row in made] == [["open", "default"], ["open"]]
    assert all(row["key"].startswith("ketline-") for row in made)


@pytest.mark.parametrize(
    ("text", "options", "told"),
    [
        ("user\nada\nlin\nada\n", ("--plan", "open"), "'ada' is named twice"),
        ("user\nada\nlin\n", ("--instance", "opn"), "opn"),
        ("user\nada\nlin\n", ("--plan", "gold"), "gold"),
        ("user\nada\ndefault\n", ("--plan", "open"), "'default' already"),
        ("user\nada\n", (), "every instance"),
        ("user\nada\n,\n", ("--plan", "open"), "line 3"),
        ("user,role\nada,manager\n", ("--plan", "open"), "no column 'role'"),
        ("name\nada\n", ("--plan", "open"), "column user is missing"),
        ("user\n", ("--plan", "open"), "no users"),
        ("", ("--plan", "open"), "column user is missing"),
    ],
)
def test_what_is_refused_makes_nothing(
    ketline: Ketline, data: Path, tmp_path: Path, text: str, options: tuple[str, ...], told: str
) -> None:
    file, output = tmp_path / "class.csv", tmp_path / "keys.csv"
    file.write_text(text)
    refused = ketline("keys", "import", file, "--data", data, *options, "--output", output)
    assert refused.code == 1
    assert told in refused.err
    assert not output.exists()
    users = {row["user"] for row in ketline("keys", "list", "--data", data, "--json").json}
    assert users == {"administrator"}
    names = {row["name"] for row in ketline("instances", "list", "--data", data, "--json").json}
    assert names == {"default", "open"}


def test_keys_are_not_written_over(ketline: Ketline, data: Path, tmp_path: Path) -> None:
    file = tmp_path / "class.csv"
    file.write_text("user\nada\n")
    refused = ketline("keys", "import", file, "--data", data, "--plan", "open", "--output", file)
    assert refused.code == 1
    assert file.read_text() == "user\nada\n"
    assert len(ketline("keys", "list", "--data", data, "--json").json) == 1
