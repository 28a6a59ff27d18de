"""A real server in a process of its own, to be killed and started again over the same folder."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import RuntimeEncoder

CONFIG = """
[compute]
workers = 1

[[qpus]]
name = "ket_manila"
device = "manila"
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class FaultyServer:
    """``ketline serve`` over one data folder and one port, through any number of lives."""

    def __init__(self, folder: Path, config: str = CONFIG) -> None:
        self.data = folder / "data"
        self.log = folder / "log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._config = folder / "ketline.toml"
        self._config.write_text(config)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "ketline.cli.main", "serve", "--data", str(self.data)]
        command += ["--port", str(self.port), "--config", str(self._config)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def wait_healthy(self, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process is not None
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/ketline/v1/health"):
                return
            time.sleep(0.02)
        raise AssertionError(f"the server didn't come up:\n{self.log.read_text()[-4000:]}")

    def kill(self) -> None:
        """Kill it as a power cut would, its children included: they notice by themselves."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(20)
        self.process = None
        return status

    def abandon(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    @property
    def key(self) -> str:
        return (self.data / "administrator.key").read_text().strip()

    def headers(self, crn: str) -> dict[str, str]:
        return {"Authorization": f"apikey {self.key}", "Service-CRN": crn}


class Gone(Exception):
    """The server went away before it answered."""


class Line:
    """One keep-alive connection, opened again when the server comes back."""

    def __init__(self, server: FaultyServer, headers: dict[str, str]) -> None:
        self._port = server.port
        self._headers = headers
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            fields = {"Host": "localhost", "Content-Length": str(len(body)), **self._headers}
            head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (
                    int(line[15:])
                    for line in answer.split(b"\r\n")
                    if line.lower().startswith(b"content-length:")
                ),
                0,
            )
            return int(answer[9:12]), await reader.readexactly(length)
        except (OSError, EOFError) as error:
            self.close()
            raise Gone from error

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def bell_request(backend: str = "ket_manila", shots: int = 20, **more: object) -> bytes:
    """A body of ``POST /jobs`` as the client posts it."""
    circuit = QuantumCircuit(2, 2)
    circuit.rz(np.pi / 2, 0)
    circuit.sx(0)
    circuit.rz(np.pi / 2, 0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    params = {"pubs": [[circuit, np.zeros(0), shots]], "options": {}, "version": 2, "support_qiskit": True}
    request = {"program_id": "sampler", "backend": backend, "params": params, **more}
    return json.dumps(request, cls=RuntimeEncoder).encode()


def children_of(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1]) == pid:
                    found.append(int(entry.name))
    return found


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    return state != "Z"
