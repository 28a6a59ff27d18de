"""All that waits for one QPU: individual jobs, and sessions and batches as wholes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping

from ketline.core.fairshare import FairShare, Line, Share
from ketline.core.model import Job
from ketline.core.ranking import Key, Ranking

Accept = Callable[[str | None, str | None], bool]
"""Whether a job (its id, None), or a session or batch (None, its id), may start."""


class Pool:
    """The normal queue of one QPU (``modes.md`` 5.1).

    Within an instance the oldest comes first; a session or batch is as old as its oldest queued job. Rules
    that keep one out for a while don't move it: it keeps its place.
    """

    def __init__(self, fair: FairShare, age_of_group: Callable[[str], int | None]) -> None:
        self._age_of_group = age_of_group
        self._singles: dict[str, OrderedDict[str, Job]] = {}
        self._groups: dict[str, Ranking] = {}
        self._single_line = Line(fair, self._single_age)
        self._group_line = Line(fair, self._group_age)

    def _single_age(self, instance_id: str) -> int | None:
        waiting = self._singles.get(instance_id)
        return next(iter(waiting.values())).seq if waiting else None

    def _group_age(self, instance_id: str) -> int | None:
        groups = self._groups.get(instance_id)
        best = groups.best() if groups is not None else None
        return None if best is None else int(best[0][0])

    def _group_key(self, workload_id: str) -> Key | None:
        age = self._age_of_group(workload_id)
        return None if age is None else (age,)

    def add_single(self, job: Job) -> None:
        """An individual job joins the queue. Jobs join in the order of ``seq``."""
        waiting = self._singles.get(job.instance_id)
        if waiting is None:
            waiting = self._singles[job.instance_id] = OrderedDict()
        waiting[job.job_id] = job
        if len(waiting) == 1:
            self._single_line.touch(job.instance_id)

    def remove_single(self, job: Job) -> None:
        """An individual job starts, or ends before it started."""
        waiting = self._singles.get(job.instance_id)
        if waiting is None or waiting.pop(job.job_id, None) is None:
            return
        if not waiting:
            del self._singles[job.instance_id]

    def replace_single(self, job: Job) -> None:
        """Another record of an individual job that waits here; its place stays."""
        self._singles[job.instance_id][job.job_id] = job

    def add_group(self, instance_id: str, workload_id: str) -> None:
        """A session or batch joins the queue. It leaves when its age is None."""
        groups = self._groups.get(instance_id)
        if groups is None:
            groups = self._groups[instance_id] = Ranking(self._group_key)
        groups.touch(workload_id)
        self._group_line.touch(instance_id)

    def shrunk(self, share: Share, ratio: float, of_account: float) -> None:
        """An instance's or its account's ratio became smaller."""
        self._single_line.shrunk(share, ratio, of_account)
        self._group_line.shrunk(share, ratio, of_account)

    def touch(self, instance_id: str) -> None:
        """An instance's figures changed, or its limit doesn't hold it any more."""
        self._single_line.touch(instance_id)
        self._group_line.touch(instance_id)

    def oldest_single(self, instance_id: str) -> str | None:
        """The id of an instance's oldest individual job."""
        waiting = self._singles.get(instance_id)
        return next(iter(waiting)) if waiting else None

    def oldest_group(self, instance_id: str) -> str | None:
        """The id of an instance's oldest session or batch."""
        groups = self._groups.get(instance_id)
        best = groups.best() if groups is not None else None
        return None if best is None else best[1]

    def next_single(self, accept: Accept | None = None) -> str | None:
        """The id of the next individual job (that is accepted)."""
        best = self._single_line.best(None if accept is None else self._accept_single(accept))
        return None if best is None else self.oldest_single(best[1])

    def next_any(self, accept: Accept | None = None) -> tuple[str | None, str | None]:
        """The next of all (that is accepted), as (job id, None) or (None, workload id)."""
        if accept is None:
            single, group = self._single_line.best(), self._group_line.best()
        else:
            single = self._single_line.best(self._accept_single(accept))
            group = self._group_line.best(self._accept_group(accept))
        if group is None or (single is not None and single[0] < group[0]):
            return (None if single is None else self.oldest_single(single[1])), None
        return None, self.oldest_group(group[1])

    def next_of(self, instance_id: str) -> tuple[str | None, str | None]:
        """The next of one instance, as (job id, None) or (None, workload id)."""
        single, group = self._single_line.first_of(instance_id), self._group_line.first_of(instance_id)
        if group is None or (single is not None and single < group):
            return (None if single is None else self.oldest_single(instance_id)), None
        return None, self.oldest_group(instance_id)

    def next_single_of(self, instance_id: str) -> str | None:
        """The id of the next individual job of one instance."""
        return None if self._single_line.first_of(instance_id) is None else self.oldest_single(instance_id)

    def _accept_single(self, accept: Accept) -> Callable[[str], bool]:
        return lambda instance_id: accept(self.oldest_single(instance_id), None)

    def _accept_group(self, accept: Accept) -> Callable[[str], bool]:
        return lambda instance_id: accept(None, self.oldest_group(instance_id))

    def copy_from(self, other: Pool) -> None:
        """Take over what waits in another centre's queue. This one is empty."""
        for instance_id, waiting in other._singles.items():
            self._singles[instance_id] = waiting.copy()
        for instance_id, groups in other._groups.items():
            self._groups[instance_id] = Ranking(self._group_key)
            self._groups[instance_id].copy_from(groups)
        self._single_line.copy_from(other._single_line)
        self._group_line.copy_from(other._group_line)

    def singles(self) -> Mapping[str, Mapping[str, Job]]:
        """The individual jobs that wait, by instance, oldest first."""
        return self._singles

    def groups(self) -> Iterator[tuple[str, list[str]]]:
        """The ids of the sessions and batches that wait, by instance, in no order."""
        for instance_id, ranking in self._groups.items():
            waiting = [name for name in ranking.members() if self._age_of_group(name) is not None]
            if waiting:
                yield instance_id, waiting
