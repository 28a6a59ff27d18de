"""The pool: what tasks may do to their worker, and what they can't do to others."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from multiprocessing import forkserver
from pathlib import Path

import pytest

from ketline.compute.failures import TaskFaulted, TaskOutOfMemory, TaskTimedOut, WorkerDied
from ketline.compute.pool import Pool
from ketline.compute.waiting import Urgency, Waiting
from ketline.units.errors import JobError

TASKS = {
    name: f"compute_doubles:{name}"
    for name in ("echo", "hang", "eat", "keep", "leave", "refuse", "fault", "panic", "where", "nap")
}
MEMORY = 300_000_000
PATIENCE = 30.0


def with_pool(
    scenario: Callable[[Pool], Awaitable[None]], workers: int = 2, tasks: dict[str, str] = TASKS
) -> None:
    async def run() -> None:
        pool = Pool(tasks, workers=workers, memory_bytes=MEMORY)
        pool.start()
        try:
            await asyncio.wait_for(scenario(pool), 60)
        finally:
            await pool.close()

    asyncio.run(run())


async def pid_of(pool: Pool) -> int:
    return int((await pool.run("where", {}, timeout_seconds=PATIENCE))["pid"])


def test_tasks_run_in_niced_children() -> None:
    async def scenario(pool: Pool) -> None:
        answer = await pool.run("echo", {"text": "ü", "numbers": [1, 2.5, None]}, timeout_seconds=PATIENCE)
        assert answer == {"text": "ü", "numbers": [1, 2.5, None]}
        where = await pool.run("where", {}, timeout_seconds=PATIENCE)
        assert where["pid"] != os.getpid()
        assert where["nice"] == os.nice(0) + 5
        assert where["main"] is None, "the parent's main module was imported"

    with_pool(scenario)


def test_many_tasks_share_the_workers_and_the_most_urgent_go_first() -> None:
    async def scenario(pool: Pool) -> None:
        order: list[int] = []

        async def one(number: int, urgency: Urgency) -> None:
            await pool.run("nap", {"seconds": 0.01}, timeout_seconds=PATIENCE, urgency=urgency)
            order.append(number)

        background, qpu, under_way = Urgency.BACKGROUND, Urgency.QPU, Urgency.UNDER_WAY
        await asyncio.gather(one(0, background), one(1, qpu), one(2, qpu), one(3, under_way))
        assert order == [3, 1, 2, 0]

    with_pool(scenario, workers=1)


def test_the_less_urgent_have_every_fifth_turn() -> None:
    waiting: Waiting[str] = Waiting()
    for number in range(8):
        waiting.add(f"background {number}", Urgency.BACKGROUND)
    for number in range(8):
        waiting.add(f"qpu {number}", Urgency.QPU)
    taken = [waiting.take(Urgency.BACKGROUND) for _ in range(len(waiting))]
    assert [name for name in taken if name and name.startswith("qpu")] == [f"qpu {n}" for n in range(8)]
    assert taken[4] == "background 0"
    assert taken[9] == "background 1"
    assert taken[10:] == [f"background {n}" for n in range(2, 8)]


def test_those_that_may_not_go_wait_without_harm() -> None:
    waiting: Waiting[str] = Waiting()
    waiting.add("long", Urgency.BACKGROUND)
    assert waiting.take(Urgency.QPU) is None
    waiting.add("short", Urgency.QPU)
    waiting.remove("short")
    assert waiting.take(Urgency.QPU) is None
    assert waiting.take(Urgency.BACKGROUND) == "long"


def test_long_background_tasks_leave_a_worker_to_the_qpus() -> None:
    async def scenario(pool: Pool) -> None:
        await asyncio.gather(*(pool.run("nap", {"seconds": 0.1}, timeout_seconds=PATIENCE) for _ in range(2)))
        flood = [
            asyncio.create_task(
                pool.run("nap", {"seconds": 1.0}, timeout_seconds=PATIENCE, urgency=Urgency.BACKGROUND)
            )
            for _ in range(6)
        ]
        await asyncio.sleep(0)
        began = time.monotonic()
        for _ in range(5):
            await pool.run("echo", {}, timeout_seconds=PATIENCE)
        assert time.monotonic() - began < 0.9
        assert not any(task.done() for task in flood)
        for task in flood:
            task.cancel()
        await asyncio.gather(*flood, return_exceptions=True)

    with_pool(scenario)


def test_overhead_of_a_task_is_small() -> None:
    async def scenario(pool: Pool) -> None:
        await pool.run("echo", {}, timeout_seconds=PATIENCE)
        times = []
        for _ in range(300):
            began = time.perf_counter()
            await pool.run("echo", {}, timeout_seconds=PATIENCE)
            times.append(time.perf_counter() - began)
        assert sorted(times)[150] < 0.001

    with_pool(scenario)


def test_a_jobs_own_fault_comes_back_as_it_is() -> None:
    async def scenario(pool: Pool) -> None:
        with pytest.raises(JobError) as caught:
            await pool.run("refuse", {}, timeout_seconds=PATIENCE)
        error = caught.value
        assert (error.code, error.message, error.solution) == (1603, "params: no", "Post something else.")

    with_pool(scenario)


@pytest.mark.parametrize(
    ("task", "words"), [("fault", "ZeroDivisionError: on purpose"), ("panic", "as Rust")]
)
def test_a_fault_is_told_with_its_traceback_and_the_worker_goes_on(task: str, words: str) -> None:
    async def scenario(pool: Pool) -> None:
        before = await pid_of(pool)
        with pytest.raises(TaskFaulted, match=words) as caught:
            await pool.run(task, {}, timeout_seconds=PATIENCE)
        assert "Traceback" in caught.value.details
        assert await pid_of(pool) == before

    with_pool(scenario, workers=1)


def test_a_hanging_task_is_killed_and_others_are_unharmed() -> None:
    async def scenario(pool: Pool) -> None:
        await pool.run("echo", {}, timeout_seconds=PATIENCE)
        napping = asyncio.create_task(pool.run("nap", {"seconds": 1.0}, timeout_seconds=PATIENCE))
        began = time.monotonic()
        with pytest.raises(TaskTimedOut, match=r"hang took longer than 0\.3 s"):
            await pool.run("hang", {}, timeout_seconds=0.3)
        assert time.monotonic() - began < 1.0
        assert await napping == {"seconds": 1.0}
        await pool.run("echo", {}, timeout_seconds=PATIENCE)

    with_pool(scenario)


def test_a_task_that_eats_memory_fails_by_the_limit_and_its_worker_is_replaced() -> None:
    async def scenario(pool: Pool) -> None:
        before = await pid_of(pool)
        with pytest.raises(TaskOutOfMemory, match="eat wanted more than 300,000,000 bytes"):
            await pool.run("eat", {"bytes": 400_000_000}, timeout_seconds=PATIENCE)
        assert await pid_of(pool) != before
        assert await pool.run("eat", {"bytes": 200_000_000}, timeout_seconds=PATIENCE) == {
            "size": 200_000_000
        }

    with_pool(scenario, workers=1)


def test_a_worker_that_keeps_memory_is_replaced() -> None:
    async def scenario(pool: Pool) -> None:
        before = await pid_of(pool)
        for _ in range(4):
            await pool.run("keep", {"bytes": 250_000_000}, timeout_seconds=PATIENCE)
        assert await pid_of(pool) != before

    with_pool(scenario, workers=1)


def test_a_dying_worker_fails_its_task_alone() -> None:
    async def scenario(pool: Pool) -> None:
        napping = asyncio.create_task(pool.run("nap", {"seconds": 0.5}, timeout_seconds=PATIENCE))
        with pytest.raises(WorkerDied, match="exit status 7"):
            await pool.run("leave", {}, timeout_seconds=PATIENCE)
        assert await napping == {"seconds": 0.5}
        killed = asyncio.create_task(pool.run("hang", {}, timeout_seconds=PATIENCE))
        await asyncio.sleep(0.2)
        os.kill(busy_pid(pool), signal.SIGSEGV)
        with pytest.raises(WorkerDied, match="killed by SIGSEGV"):
            await killed
        await asyncio.gather(*(pool.run("echo", {}, timeout_seconds=PATIENCE) for _ in range(4)))

    with_pool(scenario)


def busy_pid(pool: Pool) -> int:
    return next(worker.child.pid or 0 for worker in pool._workers if worker.task is not None)


def test_giving_up_a_task_frees_its_worker() -> None:
    async def scenario(pool: Pool) -> None:
        before = await pid_of(pool)
        hanging = asyncio.create_task(pool.run("hang", {}, timeout_seconds=PATIENCE))
        waiting = asyncio.create_task(pool.run("echo", {"n": 1}, timeout_seconds=PATIENCE))
        dropped = asyncio.create_task(pool.run("hang", {}, timeout_seconds=PATIENCE))
        await asyncio.sleep(0.05)
        dropped.cancel()
        hanging.cancel()
        assert await waiting == {"n": 1}
        assert await pid_of(pool) != before
        assert pool.facts["waiting"] == 0

    with_pool(scenario, workers=1)


def test_closing_ends_every_child() -> None:
    pids: list[int] = []

    async def scenario(pool: Pool) -> None:
        await asyncio.gather(
            *(pool.run("nap", {"seconds": 0.05}, timeout_seconds=PATIENCE) for _ in range(4))
        )
        pids.extend(worker.child.pid or 0 for worker in pool._workers)
        hanging = asyncio.create_task(pool.run("hang", {}, timeout_seconds=PATIENCE))
        await asyncio.sleep(0.05)
        await pool.close()
        with pytest.raises(asyncio.CancelledError):
            await hanging
        with pytest.raises(RuntimeError, match="closed"):
            await pool.run("echo", {}, timeout_seconds=PATIENCE)

    with_pool(scenario)
    assert len(pids) == 2
    for pid in pids:
        assert not Path(f"/proc/{pid}").exists()


def test_a_task_that_was_not_registered_is_refused() -> None:
    async def scenario(pool: Pool) -> None:
        with pytest.raises(ValueError, match="no such task: os:system"):
            await pool.run("os:system", {}, timeout_seconds=PATIENCE)

    with_pool(scenario)


def test_a_worker_that_never_starts_is_tried_again_without_haste() -> None:
    async def scenario(pool: Pool) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pool.run("echo", {}, timeout_seconds=PATIENCE), 1.5)
        assert pool.facts["ready"] == 0
        assert pool.facts["workers"] <= 1

    with_pool(scenario, workers=1, tasks={"echo": "compute_doubles:is_not_there"})


def test_a_fork_server_that_dies_in_the_middle_of_a_start_is_replaced() -> None:
    async def scenario(pool: Pool) -> None:
        await pid_of(pool)
        fork_server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
        os.kill(fork_server, signal.SIGSTOP)
        pool._hire()
        await asyncio.sleep(0.3)
        assert len(pool._workers) == 3, "the third is being started"
        os.kill(fork_server, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        while pool.facts["ready"] < 3:
            assert time.monotonic() < deadline, pool.facts
            await asyncio.sleep(0.05)
        assert await pool.run("echo", {"is": "well"}, timeout_seconds=PATIENCE) == {"is": "well"}

    with_pool(scenario)


def test_stopping_does_not_wait_for_a_fork_server_that_is_loading() -> None:
    async def scenario() -> float:
        pool = Pool(TASKS, workers=2, memory_bytes=MEMORY)
        pool.start()
        await pid_of(pool)
        os.kill(forkserver._forkserver._forkserver_pid, signal.SIGSTOP)  # type: ignore[attr-defined]
        pool._hire()
        pool._hire()
        await asyncio.sleep(0.1)
        begun = time.monotonic()
        await asyncio.wait_for(pool.close(), PATIENCE)
        return time.monotonic() - begun

    assert asyncio.run(scenario()) < PATIENCE / 3


def test_a_task_goes_to_an_idle_worker_that_knows_its_kind_and_never_waits_for_it() -> None:
    async def scenario(pool: Pool) -> None:
        async def at(near: str, task: str = "where") -> int:
            answer = await pool.run(task, {"seconds": 0.3}, timeout_seconds=PATIENCE, near=near)
            return int(answer.get("pid", 0))

        # Both are ready when two tasks have been done side by side.
        await asyncio.gather(at("x", "nap"), at("y", "nap"))
        busy = asyncio.ensure_future(at("a", "nap"))
        await asyncio.sleep(0.05)
        theirs = await at("b")
        assert await at("a") == theirs, "the other worker was busy, and nothing waits"
        await busy
        assert await at("b") == theirs
        busy = asyncio.ensure_future(at("b", "nap"))
        await asyncio.sleep(0.05)
        ours = await at("c")
        assert ours != theirs
        await busy
        for _ in range(3):
            assert await at("c") == ours
            assert await at("b") == theirs

    with_pool(scenario)
