"""A pool of worker processes: tasks by name, each with a limit of time, memory and patience."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ketline.compute.child import Child
from ketline.compute.failures import TaskFaulted, TaskOutOfMemory, TaskTimedOut, WorkerDied
from ketline.compute.waiting import Urgency, Waiting
from ketline.units.errors import JobError

_REMEMBERED = 16
"""How many values of ``near`` a worker is known by."""


@dataclass(slots=True, eq=False)
class _Task:
    name: str
    args: dict[str, Any]
    timeout_seconds: float
    near: str | None
    urgency: Urgency
    future: asyncio.Future[dict[str, Any]]


@dataclass(slots=True, eq=False)
class _Worker:
    child: Child
    ready: bool = False
    task: _Task | None = None
    alarm: asyncio.TimerHandle | None = None
    near: deque[str] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))


class Pool:
    """Runs named tasks in child processes; one that hangs, dies or bloats is replaced and harms no other.

    Tasks go by their urgency (`ketline.compute.waiting`). Background tasks, which may take long, leave one
    worker free for the others, unless there is only one.

    ``tasks`` maps names to ``module:function`` of functions that take and return JSON objects. Workers are
    started in the background by ``start`` and tasks wait for them. Use it in one event loop.
    """

    def __init__(
        self, tasks: Mapping[str, str], *, workers: int, memory_bytes: int, niceness: int = 5
    ) -> None:
        self._tasks = dict(tasks)
        self.size = workers
        self._memory_bytes = memory_bytes
        self._niceness = niceness
        self._workers: list[_Worker] = []
        self._idle: list[_Worker] = []
        self._waiting: Waiting[_Task] = Waiting()
        self._closing = False

    def start(self) -> None:
        """Begin to start the workers."""
        for _ in range(self.size):
            self._hire()

    @property
    def facts(self) -> dict[str, int]:
        """How many workers there are, how many are ready, and how many tasks wait."""
        return {
            "workers": len(self._workers),
            "ready": sum(worker.ready for worker in self._workers),
            "busy": sum(worker.task is not None for worker in self._workers),
            "waiting": len(self._waiting),
        }

    async def run(
        self,
        name: str,
        args: dict[str, Any],
        *,
        timeout_seconds: float,
        urgency: Urgency = Urgency.QPU,
        near: str | None = None,
    ) -> dict[str, Any]:
        """Do a task and return its answer.

        Among workers that are idle, one is chosen that lately did a task with the same ``near``: it may still
        know what this one needs. No task waits for it.

        Cancelling the call gives the task up; if it is being done, its worker is killed.

        Raises:
            JobError: the job's own fault.
            TaskFailure: too long, too much memory, the worker died, or the task faulted.
        """
        if name not in self._tasks:
            raise ValueError(f"no such task: {name}")
        if self._closing:
            raise RuntimeError("the pool is closed")
        task = _Task(name, args, timeout_seconds, near, urgency, asyncio.get_running_loop().create_future())
        self._waiting.add(task, urgency)
        self._dispatch()
        try:
            return await task.future
        except asyncio.CancelledError:
            self._give_up(task)
            raise

    async def close(self) -> None:
        """Kill the workers; tasks that aren't done are cancelled."""
        self._closing = True
        for task in self._waiting.clear():
            task.future.cancel()
        workers = list(self._workers)
        for worker in workers:
            if worker.task is not None:
                worker.task.future.cancel()
            worker.child.kill()
        for worker in workers:
            await worker.child.gone

    def _hire(self) -> None:
        # The callbacks need the worker, which needs the child: it is complete before either can be called.
        worker = _Worker.__new__(_Worker)
        child = Child(
            "ketline.compute.worker:main",
            {"tasks": self._tasks, "memory_bytes": self._memory_bytes},
            message=lambda message: self._heard(worker, message),
            ended=lambda ending: self._ended(worker, ending),
            niceness=self._niceness,
        )
        worker.__init__(child)  # type: ignore[misc]
        self._workers.append(worker)

    def _dispatch(self) -> None:
        while self._idle and (task := self._waiting.take(self._least())) is not None:
            if task.future.done():
                continue
            worker = next((idle for idle in reversed(self._idle) if task.near in idle.near), self._idle[-1])
            self._idle.remove(worker)
            worker.task = task
            if task.near is not None and task.near not in worker.near:
                worker.near.append(task.near)
            loop = asyncio.get_running_loop()
            worker.alarm = loop.call_later(task.timeout_seconds, self._too_long, worker, task)
            worker.child.send({"task": task.name, "args": task.args})

    def _least(self) -> Urgency:
        """How urgent a task must be to get a worker now."""
        background = sum(
            worker.task is not None and worker.task.urgency is Urgency.BACKGROUND for worker in self._workers
        )
        return Urgency.BACKGROUND if background < max(1, self.size - 1) else Urgency.QPU

    def _heard(self, worker: _Worker, message: dict[str, Any]) -> None:
        task = self._release(worker)
        if task is not None and not task.future.done():
            self._answer(task, message)
        worker.ready = True
        if message.get("spent"):
            worker.child.kill()
            return
        self._idle.append(worker)
        self._dispatch()

    def _answer(self, task: _Task, message: dict[str, Any]) -> None:
        match message["is"]:
            case "done":
                task.future.set_result(message["answer"])
            case "refused":
                task.future.set_exception(JobError(message["code"], message["message"], message["solution"]))
            case "memory":
                task.future.set_exception(TaskOutOfMemory(task.name, self._memory_bytes))
            case _:
                task.future.set_exception(TaskFaulted(task.name, message["details"]))

    def _release(self, worker: _Worker) -> _Task | None:
        task, worker.task = worker.task, None
        if worker.alarm is not None:
            worker.alarm.cancel()
            worker.alarm = None
        return task

    def _too_long(self, worker: _Worker, task: _Task) -> None:
        if worker.task is task:
            self._release(worker)
            if not task.future.done():
                task.future.set_exception(TaskTimedOut(task.name, task.timeout_seconds))
            worker.child.kill()

    def _give_up(self, task: _Task) -> None:
        for worker in self._workers:
            if worker.task is task:
                self._release(worker)
                worker.child.kill()
                return
        self._waiting.remove(task)

    def _ended(self, worker: _Worker, ending: str) -> None:
        task = self._release(worker)
        self._workers.remove(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        if task is not None and not task.future.done():
            task.future.set_exception(WorkerDied(task.name, ending, self._memory_bytes))
        if self._closing:
            return
        if worker.ready:
            self._hire()
        else:
            # One that ended before it was ready will hardly do better at once.
            asyncio.get_running_loop().call_later(1.0, self._rehire)

    def _rehire(self) -> None:
        if not self._closing:
            self._hire()
