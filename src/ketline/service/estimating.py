"""Estimating whole payloads: prepared and admitted like a job's, in a worker, and forgotten.

Estimates are background work: they leave a worker to the jobs of QPUs, and only so many are taken at a time,
of all users and of each.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ketline.compute.pool import Pool
from ketline.compute.waiting import Urgency
from ketline.core.estimate import UsageEstimate
from ketline.core.model import Workload
from ketline.errors import TOO_MANY_ESTIMATES, KetlineError
from ketline.service.backends import Backend
from ketline.service.failing import failure_of
from ketline.service.house import Refused
from ketline.service.prospects import Round
from ketline.service.views import JobRequest, Principal
from ketline.service.work import Work

ESTIMATE_SECONDS = 60.0
"""What an estimate may take; a job's preparation may take longer (``compute.prepare_seconds``)."""
AT_ONCE = 32
AT_ONCE_OF_A_USER = 4
RETRY_SECONDS = 2.0


class Estimating:
    """Takes payloads to the workers."""

    def __init__(self, pool: Pool, work: Work, prepare_seconds: float) -> None:
        self._pool = pool
        self._work = work
        self._seconds = min(ESTIMATE_SECONDS, prepare_seconds)
        self._taken: Counter[str] = Counter()

    async def rounds(
        self, principal: Principal, request: JobRequest, backend: Backend, workload: Workload | None
    ) -> tuple[Round, ...]:
        """What a payload asks of the QPU, round by round.

        Raises:
            KetlineError: TOO_MANY_ESTIMATES; or the payload is refused, with the code that its job would get.
        """
        with self._place(principal.user_id):
            folder = self._work.scratch / f"estimate.{secrets.token_hex(8)}"
            payload = folder / "payload"
            tenant = None if request.private else principal.instance_id
            args = self._work.task_args(backend, request.program, workload, tenant)
            try:
                await asyncio.to_thread(_write, payload, request.params)
                answer = await self._pool.run(
                    "estimate",
                    args | {"payload": str(payload)},
                    timeout_seconds=self._seconds,
                    urgency=Urgency.BACKGROUND,
                    near=tenant,
                )
            except Exception as error:
                who = f"an estimate for user {principal.user_id}"
                failure = failure_of(error, who, "preparing", private=request.private)
                raise Refused(failure.reason) from error
            finally:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        return tuple(Round(one["seconds"], UsageEstimate(**one["usage"])) for one in answer["rounds"])

    @contextlib.contextmanager
    def _place(self, user_id: str) -> Iterator[None]:
        if self._taken.total() >= AT_ONCE or self._taken[user_id] >= AT_ONCE_OF_A_USER:
            error = KetlineError(TOO_MANY_ESTIMATES, mine=AT_ONCE_OF_A_USER, all=AT_ONCE)
            error.retry_after_seconds = RETRY_SECONDS
            raise error
        self._taken[user_id] += 1
        try:
            yield
        finally:
            self._taken[user_id] -= 1
            if not self._taken[user_id]:
                del self._taken[user_id]


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700)
    path.write_bytes(content)
