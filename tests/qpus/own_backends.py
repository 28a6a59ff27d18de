"""Backends as third parties write them, each with a way of its own of telling what came out."""

from __future__ import annotations

from typing import Any

from qiskit.circuit import Measure, Parameter
from qiskit.circuit.library import CZGate, RZGate, SXGate
from qiskit.providers import BackendV2, JobStatus, JobV1, Options
from qiskit.providers.basic_provider import BasicSimulator
from qiskit.result import Result
from qiskit.result.models import ExperimentResultData
from qiskit.transpiler import Target

WIDTH = 3


class Job(JobV1):
    """A job that is over at once."""

    def __init__(self, backend: Lab, result: Any, state: Any = JobStatus.DONE) -> None:
        super().__init__(backend, "1")
        self.given, self.state, self.cancelled = result, state, 0

    def submit(self) -> None:
        raise NotImplementedError

    def result(self) -> Any:
        if isinstance(self.given, Exception):
            raise self.given
        return self.given

    def status(self) -> Any:
        if isinstance(self.state, Exception):
            raise self.state
        return self.state

    def cancel(self) -> None:
        self.cancelled += 1
        self.state = JobStatus.CANCELLED


class Lab(BackendV2):
    """Three qubits in a row, without durations and errors: counts in hexadecimal, one circuit a job."""

    def __init__(self) -> None:
        super().__init__(name="lab")
        target = Target(num_qubits=WIDTH)
        for gate in (RZGate(Parameter("angle")), SXGate(), Measure()):
            target.add_instruction(gate, {(qubit,): None for qubit in range(WIDTH)})
        target.add_instruction(CZGate(), {(0, 1): None, (1, 2): None})
        self._target = target
        self.jobs: list[Job] = []

    @property
    def target(self) -> Target:
        return self._target

    @property
    def max_circuits(self) -> int:
        return 1

    @classmethod
    def _default_options(cls) -> Options:
        return Options(shots=100)

    def run(self, run_input: Any, **options: Any) -> Any:
        self.jobs.append(self.made(run_input, **options))
        return self.jobs[-1]

    def made(self, circuits: Any, **options: Any) -> Job:
        return Job(self, self.simulated(circuits, **options))

    def simulated(self, circuits: Any, **options: Any) -> Result:
        result = BasicSimulator().run(circuits, seed_simulator=3, **options).result()
        for part in result.results:
            part.data = ExperimentResultData(counts=part.data.counts)
        return result


class Spelled(Lab):
    """Counts in bits with a space between registers, states of jobs as text."""

    def made(self, circuits: Any, **options: Any) -> Job:
        result = self.simulated(circuits, **options)
        for number, part in enumerate(result.results):
            part.data.counts = result.get_counts(number)
        return Job(self, result, "DONE")


class Hung(Lab):
    """Its jobs never end, unless they are cancelled."""

    def made(self, circuits: Any, **options: Any) -> Job:
        return Job(self, None, JobStatus.RUNNING)


class Raising(Lab):
    """It takes no job."""

    def run(self, run_input: Any, **options: Any) -> Any:
        raise RuntimeError("the fridge is warm")


class Nothing(Lab):
    """It gives something that is no job."""

    def run(self, run_input: Any, **options: Any) -> Any:
        return "queued"


class Lost(Lab):
    """Its jobs end well, but their results can't be fetched."""

    def made(self, circuits: Any, **options: Any) -> Job:
        return Job(self, ConnectionError("gone"))


class Failing(Lab):
    """Its jobs end badly."""

    def made(self, circuits: Any, **options: Any) -> Job:
        return Job(self, None, JobStatus.ERROR)


class Unsuccessful(Lab):
    """Its results say that they failed."""

    def made(self, circuits: Any, **options: Any) -> Job:
        result = self.simulated(circuits, **options)
        result.success = False
        return Job(self, result)


class Cancelling(Lab):
    """Somebody cancels its jobs."""

    def made(self, circuits: Any, **options: Any) -> Job:
        return Job(self, None, JobStatus.CANCELLED)


class Short(Lab):
    """It runs fewer shots than it is asked for."""

    def simulated(self, circuits: Any, **options: Any) -> Result:
        return super().simulated(circuits, shots=options["shots"] // 2)


class Garbled(Lab):
    """Its counts are no counts."""

    def made(self, circuits: Any, **options: Any) -> Job:
        result = self.simulated(circuits, **options)
        result.results[0].data.counts = {"up": options["shots"]}
        return Job(self, result)


class Silent(Lab):
    """The state of its jobs can't be asked."""

    def made(self, circuits: Any, **options: Any) -> Job:
        return Job(self, None, ConnectionError("no route"))


class Endless(Lab):
    """It doesn't tell how many qubits it has."""

    @property
    def target(self) -> Target:
        return Target()


class Stubborn(Hung):
    """Nothing that it is asked for besides running works."""

    def status(self) -> Any:
        raise TimeoutError("no answer")

    def made(self, circuits: Any, **options: Any) -> Job:
        job = super().made(circuits, **options)
        job.cancel = self.status
        return job
