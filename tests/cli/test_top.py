"""``ketline top``: what is shown in how much room, and the terminal before, during and after."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from shell import Ketline, Serving, serving

from ketline.cli.top.view import lines

NOW = datetime(2027, 1, 1, 12, tzinfo=UTC)
# A session of its own whose controlling terminal is ours, so that Ctrl-C reaches it as a signal.
_CONTROLLED = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
ENTER, LEAVE, SHOW_CURSOR = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"


def job(number: int, stage: str, **changes: Any) -> dict[str, Any]:
    since = (NOW - timedelta(seconds=65)).isoformat()
    known = {
        "yours": True, "id": f"job{number:017d}", "session_id": None, "program": "sampler",
        "instance": "default", "stage": stage, "since": since, "estimated_usage_seconds": 2.5,
        "reason": "All lanes are taken.",
    }  # fmt: skip
    return known | changes


def session(number: int, **changes: Any) -> dict[str, Any]:
    known = {
        "id": f"session{number}", "mode": "session", "instance": "lab", "state": "active",
        "holds_qpu": False, "accepting_jobs": True, "jobs": 3, "unused_at": None,
        "idle_at": (NOW + timedelta(seconds=42)).isoformat(),
        "expires_at": (NOW + timedelta(hours=2)).isoformat(),
    }  # fmt: skip
    return known | changes


def qpu(name: str, *, running: int = 0, queued: int = 0, sessions: int = 0, **changes: Any) -> dict[str, Any]:
    known = {
        "backend": name, "mode": "online", "mode_reason": "", "calibrating": False, "lanes": 5,
        "queue_length": queued, "running": [job(i, "preparing") for i in range(running)],
        "queued": [job(100 + i, "none") for i in range(min(queued, 50))],
        "sessions": [session(i) for i in range(sessions)],
    }  # fmt: skip
    return known | changes


def text(qpus: list[dict[str, Any]], **room: int) -> list[str]:
    return [line.plain for line in lines(qpus, NOW, **room)]


def test_timers_count_down_and_reasons_are_told() -> None:
    shown = "\n".join(text([qpu("ket_fez", running=1, queued=2, sessions=1)]))
    assert "session session0  active, idle in 0:42, TTL 2:00:00, 3 jobs, of lab" in shown
    assert "1 QPU, 1 running, 2 queued" in shown
    assert re.search(r"job0{14}101 +default +sampler +queued +1:05 +2.5 s +All lanes are taken\.", shown)
    paused = qpu("ket_fez", mode="paused", mode_reason="helium refill")
    assert "ket_fez  paused (helium refill)  lanes 0/5  queued 0" in text([paused])


def test_of_other_instances_no_more_is_shown_than_the_server_tells() -> None:
    hidden = job(1, "none", id=None, instance=None, program=None, estimated_usage_seconds=None, reason="")
    assert any("another instance's" in line for line in text([qpu("ket_fez", queue_length=1, queued=0) | {
        "queued": [hidden]
    }]))  # fmt: skip


@pytest.mark.parametrize("height", [1, 2, 3, 5, 8, 13, 40, 200])
@pytest.mark.parametrize("width", [5, 20, 60, 80, 200])
def test_a_view_fits_and_counts_what_it_leaves_out(width: int, height: int) -> None:
    qpus = [qpu(f"ket_{n}", running=5, queued=300, sessions=4) for n in range(4)] + [qpu("ket_idle")]
    shown = text(qpus, width=width, height=height)
    assert len(shown) <= height
    assert all(len(line) <= width for line in shown)
    if width == 200 and height >= 13:
        for at, line in enumerate(shown):
            if line.startswith("ket_") and "idle" not in line:
                block = shown[at + 1 : at + 1 + next(
                    n for n, after in enumerate(shown[at + 1 :]) if after.startswith("ket_")
                )]  # fmt: skip
                queued = sum(" queued " in row for row in block[:-1])
                told = re.search(r"(\d+) more queued jobs", block[-1])
                assert told is not None
                assert queued + int(told[1]) == 300


def test_every_qpu_gets_its_part_of_a_small_view() -> None:
    shown = text([qpu("ket_busy", running=5, queued=50), qpu("ket_calm", running=2)], width=100, height=12)
    assert len(shown) == 12
    calm = shown.index(next(line for line in shown if line.startswith("ket_calm")))
    assert len(shown) - calm == 3, "both jobs of the second are there, and the first has the rest"


def test_a_narrow_view_keeps_the_job_and_the_reason() -> None:
    shown = text([qpu("ket_fez", queued=1)], width=60)
    assert any("job00000000000000100" in line and "All lanes" in line for line in shown)


class Terminal:
    """``ketline top`` in a pseudo-terminal."""

    def __init__(self, data: Path, *, rows: int = 24, columns: int = 80, term: str = "xterm") -> None:
        self.fd, theirs = pty.openpty()
        command = [sys.executable, "-m", "ketline.cli.main", "top", "--data", str(data), "--every", "0.2"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _CONTROLLED, *command],
            stdin=theirs, stdout=theirs, stderr=theirs,
            env={**os.environ, "TERM": term}, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self.resize(rows, columns)
        self.seen = b""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, wanted: bytes, *, after: int = 0) -> None:
        deadline = time.monotonic() + 30
        while wanted not in self.seen[after:]:
            assert time.monotonic() < deadline, self.seen[-2000:]
            self._read(0.1)

    def press(self, key: bytes) -> None:
        os.write(self.fd, key)

    def end(self) -> int:
        deadline = time.monotonic() + 30
        while (status := self.process.poll()) is None:
            assert time.monotonic() < deadline, "it doesn't end"
            self._read(0.05)
        self._read(0.2)
        return status

    def modes(self) -> int:
        found: int = termios.tcgetattr(self.fd)[3]
        return found & (termios.ECHO | termios.ICANON)

    def _read(self, seconds: float) -> None:
        if select.select([self.fd], [], [], seconds)[0]:
            try:
                self.seen += os.read(self.fd, 65_536)
            except OSError:  # its end, on Linux
                time.sleep(seconds)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.fd)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("top") / "centre", "--port", "0") as started:
        started.wait_until_ready()
        yield started


@pytest.mark.parametrize(
    ("how", "status"), [(b"q", 0), (b"\x03", 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=str
)
def test_the_terminal_is_as_it_was_whatever_ends_the_view(server: Serving, how: Any, status: int) -> None:
    terminal = Terminal(server.data)
    try:
        terminal.until(b"ket_fez")
        before = len(terminal.seen)
        terminal.resize(5, 20)
        terminal.until(b"q quits", after=before)
        assert terminal.modes() == 0, "keys are read one by one, and not shown"
        if isinstance(how, bytes):
            terminal.press(how)
        else:
            terminal.process.send_signal(how)
        assert terminal.end() == status
        assert terminal.modes() == termios.ECHO | termios.ICANON
        assert terminal.seen.count(ENTER) == terminal.seen.count(LEAVE) == 1
        assert terminal.seen.rindex(SHOW_CURSOR) > terminal.seen.index(ENTER)
    finally:
        terminal.close()


def test_a_terminal_that_cannot_be_drawn_on_gets_one_view(server: Serving) -> None:
    terminal = Terminal(server.data, term="dumb")
    try:
        assert terminal.end() == 0
        assert b"ket_fez" in terminal.seen
        assert ENTER not in terminal.seen
    finally:
        terminal.close()


def test_it_waits_for_a_server_that_went_away_and_finds_it_again(tmp_path: Path, ketline: Ketline) -> None:
    data = tmp_path / "centre"
    with serving(data, "--port", "0") as first:
        first.wait_until_ready()
        terminal = Terminal(data)
        try:
            terminal.until(b"ket_fez")
            assert first.stop() == 0
            terminal.until(b"no news for")
            with serving(data, "--port", "0") as second:
                second.wait_until_ready()
                assert second.url != first.url
                assert ketline("qpus", "pause", "ket_fez", "--data", data, "--reason", "tea").code == 0
                terminal.until(b"paused (tea)")
                terminal.press(b"q")
                assert terminal.end() == 0
        finally:
            terminal.close()
