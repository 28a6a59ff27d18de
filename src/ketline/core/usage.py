"""What it costs: the rules of the ledger, and a meter of what an instance or an account has used.

The rules are ``modes.md`` 3.4 and 6.1 with ruling C8: a job outside a session is billed for the time that
the QPU was locked for it; with a per-job overhead on top when its user's error, or its user, ended it; not
at all when the system failed. A session is billed for its active windows, whatever its jobs did.
"""

from __future__ import annotations

from array import array

from ketline.core.model import FailureKind, Job, JobStatus, QpuSpec

RULE_QPU_TIME = "qpu time"
RULE_QPU_TIME_AND_OVERHEAD = "qpu time and job overhead"
RULE_SESSION_WINDOW = "session window"

UNKNOWN_ESTIMATE_SECONDS = 4.0
"""Entry charge of a job whose usage nobody has estimated (a small job: ``modes.md`` 8.2)."""


def billable_seconds(
    job: Job, spec: QpuSpec, status: JobStatus, kind: FailureKind | None, *, too_long: bool
) -> tuple[float, str]:
    """What a job outside a session costs when it ends in ``status``, and by which rule (6.1, C8).

    ``kind`` is the failure's, None without one; ``too_long`` says that a limit ended it.
    """
    if job.locked_at is None or kind is FailureKind.SYSTEM:
        return 0.0, RULE_QPU_TIME
    if status is JobStatus.COMPLETED or too_long or spec.job_overhead_seconds == 0.0:
        return job.qpu_seconds, RULE_QPU_TIME
    return job.qpu_seconds + spec.job_overhead_seconds, RULE_QPU_TIME_AND_OVERHEAD


ROUNDING_SECONDS = 1e-9


class Meter:
    """Usage of one instance, or of an account: billed, expected and running.

    ``counted`` is what was billed inside the window. ``charged`` are the entry charges of started jobs:
    their estimated usage, corrected to the real one once the QPU is released, gone when billed.
    """

    __slots__ = (
        "_head", "_known", "_locked", "_locked_sum", "_seconds", "_sessions", "_shared", "_times", "charged",
        "counted", "parent", "window_seconds",
    )  # fmt: skip

    def __init__(self, window_seconds: float | None, parent: Meter | None = None) -> None:
        self.window_seconds = window_seconds
        self.parent = parent
        self.counted = 0.0
        self.charged = 0.0
        self._known = 0.0
        self._locked = 0
        self._locked_sum = 0.0
        self._sessions: dict[str, tuple[float, float]] = {}
        self._times = array("d")
        self._seconds = array("d")
        self._head = 0
        self._shared = False  # whether a copy has the same lines, so that they mustn't be changed in place

    # what was billed

    def bill(self, at: float, seconds: float) -> None:
        """Count a line of the ledger that ended at ``at``."""
        self._own_lines()
        place = len(self._times)
        while place > self._head and self._times[place - 1] > at:
            place -= 1
        self._times.insert(place, at)
        self._seconds.insert(place, seconds)
        self._count(seconds)

    def _own_lines(self) -> None:
        if self._shared:
            self._times, self._seconds = self._times[self._head :], self._seconds[self._head :]
            self._head, self._shared = 0, False

    def _count(self, seconds: float) -> None:
        self.counted += seconds
        if self.parent is not None:
            self.parent.counted += seconds

    def next_expiry(self) -> float | None:
        """When the oldest line leaves the window."""
        if self.window_seconds is None or self._head >= len(self._times):
            return None
        return self._times[self._head] + self.window_seconds

    def expire_one(self) -> None:
        """Let the oldest line leave the window."""
        self._count(-self._seconds[self._head])
        self._head += 1
        if self._head == len(self._times):
            self._no_lines()
            self._count(-self.counted)  # what rounding left behind
        elif self._head > 64 and self._head * 2 > len(self._times) and not self._shared:
            del self._times[: self._head], self._seconds[: self._head]
            self._head = 0

    def _no_lines(self) -> None:
        self._times, self._seconds, self._head, self._shared = array("d"), array("d"), 0, False

    def counted_at(self, now: float) -> float:
        """What was billed inside the window as it is then: lines leave it with events, which may be late."""
        counted = self.counted
        if self.window_seconds is not None:
            for place in range(self._head, len(self._times)):
                if self._times[place] + self.window_seconds > now:
                    break
                counted -= self._seconds[place]
            else:
                return 0.0
        return max(0.0, counted)

    def rewindow(self, window_seconds: float | None) -> list[tuple[float, float]]:
        """Change the window; returns the lines inside the old one, for the caller to bill anew."""
        lines = list(zip(self._times[self._head :], self._seconds[self._head :], strict=True))
        self._count(-self.counted)
        self._no_lines()
        self.window_seconds = window_seconds
        return lines

    # what is expected

    def charge(self, seconds: float) -> None:
        """Add to the entry charges, or with a negative figure take back."""
        self.charged += seconds
        if abs(self.charged) < ROUNDING_SECONDS:
            self.charged = 0.0
        if self.parent is not None:
            self.parent.charge(seconds)

    # what runs

    def lock(self, at: float) -> None:
        """A job outside a session locked a QPU."""
        self._locked += 1
        self._locked_sum += at

    def unlock(self, at: float, seconds: float) -> None:
        """The job that locked a QPU at ``at`` released it after ``seconds``, which aren't billed yet."""
        self._locked -= 1
        self._locked_sum = self._locked_sum - at if self._locked else 0.0
        self._known += seconds

    def forget(self, seconds: float) -> None:
        """What `unlock` noted is billed now, or never will be."""
        self._known = self._known - seconds if self._known > seconds else 0.0

    def enter(self, workload_id: str, at: float, expected: float) -> None:
        """A session's window opened; until it closes it counts for its length, ``expected`` at least."""
        self._sessions[workload_id] = (at, expected)
        if self.parent is not None:
            self.parent.enter(workload_id, at, expected)

    def leave(self, workload_id: str) -> None:
        """The session's window closed."""
        self._sessions.pop(workload_id, None)
        if self.parent is not None:
            self.parent.leave(workload_id)

    # sums

    def weight(self, now: float) -> float:
        """Usage as fair share sees it: billed, charged, and sessions so far."""
        if not self._sessions:
            return self.counted + self.charged
        used = self.counted + self.charged
        for at, expected in self._sessions.values():
            used += max(now - at, expected)
        return used

    def used(self, now: float) -> float:
        """Usage as limits see it: billed, or certain to be."""
        return self.counted + self.running(now)

    def running(self, now: float) -> float:
        """Usage that is certain to be billed, of what runs."""
        used = self._known + self._locked * now - self._locked_sum
        for at, _ in self._sessions.values():
            used += now - at
        return used

    def rate(self) -> int:
        """By how much usage grows a second: the QPUs that are locked and the sessions that are open."""
        return self._locked + len(self._sessions)

    def copy(self, parent: Meter | None) -> Meter:
        """The same figures, under another parent; the lines are shared until either side changes them."""
        twin = Meter(self.window_seconds, parent)
        twin.counted, twin.charged, twin._known = self.counted, self.charged, self._known
        twin._locked, twin._locked_sum = self._locked, self._locked_sum
        twin._sessions = dict(self._sessions)
        self._shared = twin._shared = True
        twin._times, twin._seconds, twin._head = self._times, self._seconds, self._head
        return twin
