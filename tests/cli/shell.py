"""The command line as a shell sees it."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


Ketline = Callable[..., Answer]


@dataclass(slots=True)
class Serving:
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    data: Path
    url: str = ""

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("Ketline is ready at "), line
        self.url = line.split()[-1]
        with urllib.request.urlopen(f"{self.url}/ketline/v1/health", timeout=20) as answer:
            assert answer.status == 200

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextlib.contextmanager
def serving(data: Path, *arguments: str) -> Iterator[Serving]:
    command = [sys.executable, "-m", "ketline.cli.main", "serve", "--data", str(data), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        server = Serving(process, data)
        try:
            yield server
        finally:
            if process.poll() is None:
                process.terminate()
                deadline = time.monotonic() + 30
                while process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.05)
                process.kill()
