"""Verbs as a shell sees them, run in the test's own process."""

from __future__ import annotations

import pytest

from ketline.cli.main import run


class Shell:
    """Runs verbs in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: object) -> str:
        code, out, err = self._run(words)
        assert code == 0, err
        return out

    def refused(self, *words: object) -> str:
        code, _, err = self._run(words)
        assert code in {1, 2}
        assert err.startswith("ketline: ")
        return err

    def _run(self, words: tuple[object, ...]) -> tuple[object, str, str]:
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run([str(word) for word in words])
        printed = self._capsys.readouterr()
        return ended.value.code or 0, printed.out, printed.err
