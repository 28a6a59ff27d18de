"""A machine that goes on by itself: after a crash it is asked for what it has, which isn't run twice."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from faulty_server import FaultyServer, alive, bell_request

BACKEND = '''
"""A machine behind a provider's queue, which is a folder: jobs in it go on whoever is connected."""
import json
import os
import time
from pathlib import Path

from qiskit import qpy
from qiskit.circuit import Measure, Parameter
from qiskit.circuit.library import CXGate, RZGate, SXGate
from qiskit.providers import BackendV2, JobStatus, JobV1, Options
from qiskit.providers.basic_provider import BasicSimulator
from qiskit.transpiler import Target

QUEUE = Path(os.environ["REMOTE_QUEUE"])


class RemoteJob(JobV1):
    def submit(self):
        raise NotImplementedError

    def _told(self):
        return json.loads((QUEUE / f"{self.job_id()}.json").read_text())

    def status(self):
        if (QUEUE / f"{self.job_id()}.cancelled").exists():
            return JobStatus.CANCELLED
        # It is done when the file that the test holds back is there.
        return JobStatus.DONE if (QUEUE / "go").exists() else JobStatus.RUNNING

    def result(self):
        with (QUEUE / f"{self.job_id()}.qpy").open("rb") as file:
            circuits = qpy.load(file)
        return BasicSimulator().run(circuits, shots=self._told()["shots"], memory=True).result()

    def cancel(self):
        (QUEUE / f"{self.job_id()}.cancelled").touch()


class Remote(BackendV2):
    def __init__(self):
        super().__init__(name="remote")
        target = Target(num_qubits=2)
        for gate in (RZGate(Parameter("angle")), SXGate(), Measure()):
            target.add_instruction(gate, {(qubit,): None for qubit in range(2)})
        target.add_instruction(CXGate(), {(0, 1): None})
        self._target = target

    @property
    def target(self):
        return self._target

    @property
    def max_circuits(self):
        return 1

    @classmethod
    def _default_options(cls):
        return Options(shots=100, memory=False)

    def run(self, circuits, **options):
        (QUEUE / "process").write_text(str(os.getpid()))
        name = f"r{len(list(QUEUE.glob('*.json')))}"
        with (QUEUE / f"{name}.qpy").open("wb") as file:
            qpy.dump(circuits, file)
        (QUEUE / f"{name}.json").write_text(json.dumps({"shots": options["shots"]}))
        return RemoteJob(self, name)

    def retrieve_job(self, job_id):
        if not (QUEUE / f"{job_id}.json").exists():
            raise ValueError(f"no job {job_id}")
        return RemoteJob(self, job_id)
'''
CONFIG = """
[compute]
workers = 1

[[qpus]]
name = "ket_remote"
driver = "backend"
device = "remote_machine:Remote"
"""


class Centre:
    """A server with the remote machine, and what stands in the machine's queue."""

    def __init__(self, folder: Path) -> None:
        self.queue = folder / "queue"
        self.server = FaultyServer(folder, CONFIG)
        self.http = httpx.Client(base_url=self.server.url)

    def start(self) -> None:
        self.server.start()
        self.server.wait_healthy()
        if "Service-CRN" not in self.http.headers:
            self.http.headers["Authorization"] = f"apikey {self.server.key}"
            listed = self.http.get("/ketline/v1/instances").json()["instances"]
            self.http.headers["Service-CRN"] = listed[0]["crn"]

    def submit(self) -> str:
        answer = self.http.post("/api/v1/jobs", content=bell_request("ket_remote"))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def jobs(self) -> int:
        return len(list(self.queue.glob("*.json")))

    def cancelled(self) -> list[str]:
        return sorted(path.stem for path in self.queue.glob("*.cancelled"))

    def on_machine(self) -> None:
        """Wait until the machine has the job, and the server has noted it."""
        until(lambda: bool(list(self.server.data.glob("scratch/*/*/note"))))

    def ended(self, job_id: str) -> dict[str, object]:
        until(lambda: self.state(job_id)["status"] in {"Completed", "Failed", "Cancelled"})
        return self.state(job_id)

    def state(self, job_id: str) -> dict[str, object]:
        answer = self.http.get(f"/api/v1/jobs/{job_id}", params={"exclude_params": "true"})
        state: dict[str, object] = answer.json()["state"]
        return state


def until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it didn't come about"
        time.sleep(0.05)


@pytest.fixture
def centre(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Centre]:
    (tmp_path / "queue").mkdir()
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "remote_machine.py").write_text(BACKEND)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("REMOTE_QUEUE", str(tmp_path / "queue"))
    made = Centre(tmp_path)
    made.start()
    yield made
    made.http.close()
    made.server.abandon()


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_restarted_server_asks_the_machine_for_what_it_has(centre: Centre, how: str) -> None:
    job_id = centre.submit()
    centre.on_machine()
    if how == "killed":
        centre.server.kill()
    else:
        centre.server.stop()
    centre.start()
    until(lambda: centre.state(job_id)["status"] == "Running")
    (centre.queue / "go").touch()
    ended = centre.ended(job_id)
    assert ended["status"] == "Completed", ended
    assert centre.jobs() == 1
    assert centre.cancelled() == []
    samples = centre.http.get(f"/api/v1/jobs/{job_id}/results").json()
    assert samples
    billed = centre.http.get(f"/api/v1/jobs/{job_id}/metrics").json()["usage"]["quantum_seconds"]
    assert 0 < billed < 30
    assert list(centre.server.data.glob("scratch/*/kept.*")) == []


def test_a_process_that_dies_is_replaced_by_one_that_asks_the_machine(centre: Centre) -> None:
    job_id = centre.submit()
    centre.on_machine()
    os.kill(int((centre.queue / "process").read_text()), signal.SIGKILL)
    time.sleep(0.5)
    (centre.queue / "go").touch()
    ended = centre.ended(job_id)
    assert ended["status"] == "Completed", ended
    assert centre.jobs() == 1


def test_what_the_machine_does_not_know_any_more_is_run_again(centre: Centre) -> None:
    job_id = centre.submit()
    centre.on_machine()
    centre.server.kill()
    until(lambda: not alive(int((centre.queue / "process").read_text())))
    for name in ("r0.json", "r0.qpy"):
        (centre.queue / name).unlink()
    (centre.queue / "go").touch()
    centre.start()
    ended = centre.ended(job_id)
    assert ended["status"] == "Completed", ended
    assert centre.jobs() == 1


def test_a_job_that_is_cancelled_is_given_up_on_the_machine_too(centre: Centre) -> None:
    job_id = centre.submit()
    centre.on_machine()
    centre.server.kill()
    centre.start()
    until(lambda: centre.state(job_id)["status"] == "Running")
    assert centre.http.post(f"/api/v1/jobs/{job_id}/cancel").status_code == 204
    assert centre.ended(job_id)["status"] == "Cancelled"
    until(lambda: centre.cancelled() == ["r0"])


def test_nothing_stays_of_a_job_that_is_over(centre: Centre) -> None:
    job_id = centre.submit()
    centre.on_machine()
    centre.server.kill()
    (centre.queue / "go").touch()
    (folder,) = (path.parent for path in centre.server.data.glob("scratch/*/*/note"))
    shutil.copytree(folder, folder.with_name("another.1"))
    centre.start()
    assert centre.ended(job_id)["status"] == "Completed"
    until(lambda: not list(centre.server.data.glob("scratch/*/*/note")))
    assert centre.jobs() == 1
