"""A server of the demo's own: a free port, a folder that is gone afterwards."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ketline.cli.data_folder import local_url
from ketline.cli.output import Refusal

START_SECONDS = 60
STOP_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: where it is, and where its data is."""

    url: str
    data: Path

    def one(self, *arguments: str) -> dict[str, Any]:
        """What a verb of the command line answers, on this server's data."""
        answer: dict[str, Any] = json.loads(self._verb(arguments))
        return answer

    def many(self, *arguments: str) -> list[dict[str, Any]]:
        """The same for a verb that answers a list."""
        answer: list[dict[str, Any]] = json.loads(self._verb(arguments))
        return answer

    def _verb(self, arguments: tuple[str, ...]) -> str:
        command = [sys.executable, "-m", "ketline.cli.main", *arguments, "--data", str(self.data), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own
        if done.returncode:
            raise Refusal(f"`ketline {' '.join(arguments)}` failed: {done.stderr.strip()}")
        return done.stdout


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A server while the block runs."""
    with TemporaryDirectory(prefix="ketline-demo-") as folder:
        data = Path(folder) / "data"
        log = Path(folder) / "server.log"
        command = [sys.executable, "-m", "ketline.cli.main", "serve", "--data", str(data), "--port", "0"]
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)  # noqa: S603
        try:
            yield Server(_wait_until_ready(process, data, log), data)
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], data: Path, log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        url = local_url(data)
        if url is not None and _healthy(url):
            return url
        time.sleep(0.1)
    what = f"isn't ready after {START_SECONDS} s" if process.poll() is None else "stopped"
    said = log.read_text(encoding="utf-8", errors="replace").strip()[-2_000:]
    raise Refusal(f"the demo's server {what}. It said: {said or 'nothing'}")


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/ketline/v1/health", timeout=5) as answer:  # noqa: S310 - our own
            return bool(answer.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False
