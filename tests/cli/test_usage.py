"""How the command line teaches, and what it says when something is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from shell import Ketline

from ketline import __version__
from ketline.cli import centre
from ketline.cli.main import app


def leaves() -> list[tuple[str, ...]]:
    def walk(command: object, path: tuple[str, ...]) -> list[tuple[str, ...]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            return [path]
        return [leaf for name, sub in inner.items() for leaf in walk(sub, (*path, name))]

    return walk(typer.main.get_command(app), ())


def test_the_verbs_are_there() -> None:
    assert {
        ("serve",),
        ("env",),
        ("demo",),
        ("keys", "create"),
        ("keys", "list"),
        ("keys", "revoke"),
        ("instances", "list"),
        ("instances", "create"),
        ("qpus", "list"),
        ("jobs", "list"),
        ("jobs", "show"),
        ("sessions", "list"),
        ("sessions", "show"),
    } <= set(leaves())


@pytest.mark.parametrize("verb", leaves(), ids=" ".join)
def test_help_explains_and_gives_an_example(ketline: Ketline, verb: tuple[str, ...]) -> None:
    answer = ketline(*verb, "--help")
    assert answer.code == 0
    assert "Examples:" in answer.out
    assert f"$ ketline {' '.join(verb)}" in answer.out or f"$(ketline {' '.join(verb)}" in answer.out


@pytest.mark.parametrize("verb", leaves(), ids=" ".join)
def test_every_option_says_what_it_is_for(verb: tuple[str, ...]) -> None:
    command = typer.main.get_command(app)
    for name in verb:
        command = command.commands[name]  # type: ignore[attr-defined]
    assert [p.name for p in command.params if not getattr(p, "help", None)] == []


@pytest.mark.parametrize(
    "verb", [verb for verb in leaves() if verb not in {("serve",), ("export",)}], ids=" ".join
)
def test_every_verb_that_answers_speaks_json_too(verb: tuple[str, ...]) -> None:
    command = typer.main.get_command(app)
    for name in verb:
        command = command.commands[name]  # type: ignore[attr-defined]
    assert "--json" in {option for parameter in command.params for option in parameter.opts}


def test_without_arguments_it_helps(ketline: Ketline) -> None:
    answer = ketline()
    assert answer.code == 0
    assert "Usage: ketline" in answer.out


def test_version(ketline: Ketline) -> None:
    assert ketline("--version").out.strip() == __version__


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["surve"], "No such command 'surve'"),
        (["serve", "--prot", "1"], "No such option: --prot"),
        (["serve", "--port", "99999"], "'--port': Input should be less than or equal to 65535"),
        (["serve", "--port", "many"], "'--port': Input should be a valid integer"),
        (["keys"], "Missing command"),
        (["keys", "create"], "Missing option '--user'"),
        (["keys", "create", "--user", "ada", "--role", "king"], "king"),
        (["jobs", "show"], "Missing argument"),
        (["jobs", "list", "--limit", "0"], "--limit"),
        (["instances", "create", "--name", "lab", "--set", "sessions"], "FIGURE=VALUE"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    ketline: Ketline, arguments: list[str], expected: str
) -> None:
    answer = ketline(*arguments)
    assert answer.code == 2
    assert answer.out == ""
    assert len(answer.err.splitlines()) == 1
    assert answer.err.startswith("ketline: ")
    assert expected in answer.err
    assert "--help`" in answer.err


def test_a_wrong_configuration_is_told_and_exit_code_1(ketline: Ketline, tmp_path: Path) -> None:
    file = tmp_path / "ketline.toml"
    file.write_text("[server]\nprot = 1\n")
    answer = ketline("serve", "--data", tmp_path / "centre", "--config", file)
    assert answer.code == 1
    assert answer.err.startswith(f'ketline: {file}: server.prot: unknown key; did you mean "port"?')
    assert not (tmp_path / "centre").exists()


def test_what_nobody_expected_is_one_line_too(
    ketline: Ketline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(centre, "Centre", broken)
    quiet = ketline("qpus", "list", "--data", tmp_path)
    assert (quiet.code, len(quiet.err.splitlines())) == (1, 1)
    assert "unexpected ZeroDivisionError: by zero" in quiet.err
    assert "Traceback" in ketline("--traceback", "qpus", "list", "--data", tmp_path).err


@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_reader_that_has_seen_enough_is_no_error(data: Path, buffered: str) -> None:
    command = f"{sys.executable} -m ketline.cli.main instances list --json --data {data} | true"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": buffered},
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_help_loads_nothing_heavy_and_is_quick() -> None:
    program = (
        "import sys; sys.argv = ['ketline', '--help']\n"
        "import ketline.cli.main as m\n"
        "try: m.run()\n"
        "except SystemExit: pass\n"
        "heavy = {'qiskit', 'numpy', 'pydantic', 'sqlalchemy', 'fastapi', 'matplotlib', 'uvicorn'}\n"
        "import time; print(sorted(heavy & set(sys.modules)), time.process_time(), file=sys.stderr)"
    )
    took = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        loaded, seconds = done.stderr.split()
        assert loaded == "[]"
        took.append(float(seconds))
    # Seconds of the processor: what others do on this machine doesn't count.
    assert min(took) < 0.3
