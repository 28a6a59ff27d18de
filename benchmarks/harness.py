"""What the benchmarks share: a real server, the real client, a lean HTTP client, and rows of a table."""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: what was measured, what it came to, what was aimed at, and whether it was reached."""

    name: str
    measured: str
    target: str
    reached: bool | None = None


def show(title: str, rows: Sequence[Row]) -> None:
    """Print rows as a table."""
    table = Table(title=title, title_justify="left")
    for heading in ("figure", "measured", "target", "reached"):
        table.add_column(heading)
    for row in rows:
        table.add_row(row.name, row.measured, row.target, verdict(row))
    Console(width=150).print(table)


def verdict(row: Row) -> str:
    """Whether a row's target was reached, in a word."""
    return {True: "yes", False: "NO", None: ""}[row.reached]


def median(values: Sequence[float]) -> float:
    """The middle value."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of all don't exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def machine() -> str:
    """The machine in a line."""
    model = platform.processor() or platform.machine()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    with suppress(OSError):
        kib = int(Path("/proc/meminfo").read_text().split()[1])
        model += f", {kib / 2**20:.0f} GiB"
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"


def processes(root: int) -> list[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def proportional_mb(pids: Sequence[int]) -> float:
    """Proportional set size of processes in MB."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


def peak_mb(pids: Sequence[int]) -> float:
    """Largest peak of the resident set among processes, in MB."""
    peak = 0
    for pid in pids:
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    peak = max(peak, int(line.split()[1]))
    return peak / 1024


def cpu_seconds(pids: Sequence[int]) -> float:
    """Processor time that processes have used."""
    ticks = 0
    for pid in pids:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Server:
    """A running server with what is needed to talk to it."""

    process: subprocess.Popen[bytes]
    data: Path
    url: str
    environment: dict[str, str]
    start_seconds: float

    @property
    def pids(self) -> list[int]:
        """The server's process and its children."""
        return processes(self.process.pid)

    def service(self) -> Any:
        """The unmodified client, connected."""
        from ketline.client import connect

        return connect(
            self.url, self.environment["QISKIT_IBM_TOKEN"], instance=self.environment["QISKIT_IBM_INSTANCE"]
        )

    def headers(self) -> dict[str, str]:
        """Headers that plain HTTP requests need."""
        return {
            "Authorization": f"apikey {self.environment['QISKIT_IBM_TOKEN']}",
            "Service-CRN": self.environment["QISKIT_IBM_INSTANCE"],
            "IBM-API-Version": "2026-04-15",
        }


def free_port() -> int:
    """A port that nobody listens on."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serve(config: str = "", data: Path | None = None) -> Iterator[Server]:
    """``ketline serve`` with embedded defaults, or a configuration, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="ketline-bench-") as folder:
        data = data or Path(folder) / "data"
        port = free_port()
        command = [sys.executable, "-m", "ketline.cli.main"]
        arguments = ["serve", "--data", str(data), "--host", "127.0.0.1", "--port", str(port)]
        if config:
            file = Path(folder) / "ketline.toml"
            file.write_text(config)
            arguments += ["--config", str(file)]
        log = (Path(folder) / "log").open("wb")
        began = time.perf_counter()
        process = subprocess.Popen(command + arguments, stdout=log, stderr=subprocess.STDOUT)
        try:
            url = f"http://127.0.0.1:{port}"
            wait_healthy(url, process, Path(folder) / "log")
            start_seconds = time.perf_counter() - began
            printed = subprocess.run(
                [*command, "env", "--data", str(data)], check=True, capture_output=True, text=True
            ).stdout
            yield Server(process, data, url, exports(printed), start_seconds)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            log.close()


def wait_healthy(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the server is ready."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with suppress(OSError), urllib.request.urlopen(f"{url}/ketline/v1/health", timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.02)
    raise RuntimeError(f"the server did not become ready:\n{log.read_text(errors='replace')[-2000:]}")


def exports(printed: str) -> dict[str, str]:
    """The variables that ``ketline env`` prints."""
    import shlex

    found = {}
    for word in shlex.split(printed, comments=True):
        name, equals, value = word.partition("=")
        if equals:
            found[name] = value
    return found


class Connection:
    """A keep-alive HTTP/1.1 connection that costs little, so that the server is what is measured."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: dict[str, str]):
        self._reader, self._writer = reader, writer
        self._head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())

    @classmethod
    async def open(cls, url: str, headers: dict[str, str]) -> Connection:
        """Connect to a server's URL."""
        host, port = url.removeprefix("http://").split(":")
        return cls(*await asyncio.open_connection(host, int(port)), {"Host": f"{host}:{port}", **headers})

    async def request(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Send one request and read its answer."""
        head = f"{method} {path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        status = int(answer[9:12])
        length = 0
        for line in answer.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line[15:])
        return status, await self._reader.readexactly(length) if length else b""

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


def sampler_body(backend: str = "ket_fez", circuits: int = 1, shots: int = 100) -> bytes:
    """A body of ``POST /jobs`` as the client posts it: Bell circuits in the instruction set of the device."""
    import json

    import numpy as np
    from qiskit import QuantumCircuit
    from qiskit_ibm_runtime import RuntimeEncoder

    bell = QuantumCircuit(2, 2)
    bell.rz(np.pi / 2, 0)
    bell.sx(0)
    bell.rz(np.pi / 2, 0)
    bell.measure([0, 1], [0, 1])
    pubs = [[bell, np.zeros(0), shots]] * circuits
    params = {"pubs": pubs, "options": {}, "version": 2, "support_qiskit": True}
    request = {"program_id": "sampler", "backend": backend, "params": params, "log_level": "WARNING"}
    return json.dumps(request, cls=RuntimeEncoder).encode()
