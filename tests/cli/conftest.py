"""The command line in this process, and a data folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from shell import Answer, Ketline

from ketline.cli.main import run


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("KETLINE_")]:
        monkeypatch.delenv(variable)


@pytest.fixture
def ketline(capsys: pytest.CaptureFixture[str]) -> Ketline:
    """Runs a command in this process."""

    def call(*arguments: object) -> Answer:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        code = ended.value.code
        return Answer(code if isinstance(code, int) else 0, printed.out, printed.err)

    return call


@pytest.fixture
def data(tmp_path: Path, ketline: Ketline) -> Path:
    """A folder that was prepared, without a server."""
    folder = tmp_path / "centre"
    assert ketline("env", "--data", folder).code == 0
    return folder
