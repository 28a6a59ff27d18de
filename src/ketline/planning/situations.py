"""The situations that a planned workload may meet: an empty centre, a described load, a live queue."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ketline.core import events
from ketline.core.scheduler import Rejection, Scheduler
from ketline.planning.advise import Situation
from ketline.planning.centre import Centre
from ketline.planning.closures import announce
from ketline.planning.condense import Bundle, Condensed, condense
from ketline.planning.durations import DurationModel
from ketline.planning.forecast import NEWCOMERS_AT_MOST
from ketline.planning.history import History
from ketline.planning.replica import Present, Replica
from ketline.planning.simulate import Load
from ketline.planning.users import Users
from ketline.planning.virtual import Performer
from ketline.planning.workload import Workload

LIVE_HORIZON_SECONDS = 86_400.0
QUEUE_AT_MOST = 600
"""How many jobs a replica plays before the planned workload starts: of longer queues, several are played as
one. A forecast can afford more of them, since it doesn't play three modes."""
_NO_BUNDLES: Mapping[str, Bundle] = {}


def empty(centre: Centre) -> Situation:
    """Nobody else is there."""

    def make(seed: int) -> Performer:
        return Performer(centre.scheduler(0.0), {}, 0.0)

    return make


def described(centre: Centre, load: Load) -> Situation:
    """Others submit as described, and have done so for half of the load's time; they go on meanwhile.

    Raises `ketline.planning.centre.CentreError` when the load names what the centre doesn't have.
    """
    centre.require(load.trace(0))

    def make(seed: int) -> Performer:
        trace = load.trace(seed)
        performer = Performer(centre.scheduler(0.0), {}, 0.0)
        announce(performer, centre.closures)
        Users(performer, trace, ends=False).begin()
        performer.run(load.seconds / 2)
        return performer

    return make


def crowd_before(
    scheduler: Scheduler,
    now: float,
    workload: Workload,
    instance_id: str,
    qpu_id: str,
    at_most: int = QUEUE_AT_MOST,
) -> Condensed:
    """The queue as it is, with about ``at_most`` jobs and bundles before the last job of a workload.

    Where its jobs would stand is seen by two that are submitted to a copy and taken back: one for all but the
    last, and the last, which fair share makes wait for what the others use. ``scheduler`` isn't changed.
    """
    probed = scheduler.copy()
    seconds = workload.job_seconds
    estimates = {"first": seconds * (workload.jobs - 1), "last": seconds}
    for name, estimate in estimates.items():
        event = events.JobSubmitted(
            name, instance_id, "", qpu_id, workload.program, estimate_seconds=estimate
        )
        try:
            probed.handle(event, now)
        except Rejection:  # as it will be in the plan, which tells why
            break
    probes = {name: probed.jobs[name] for name in estimates if name in probed.jobs}
    crowd = condense(probed, probes, at_most)
    for name in probes:
        crowd.scheduler.handle(events.JobCancelRequested(name), now)
    return crowd


def live(
    scheduler: Scheduler,
    present: Present,
    model: DurationModel,
    history: History,
    now: float,
    bundles: Mapping[str, Bundle] = _NO_BUNDLES,
) -> Situation:
    """The queue as it is: copies of the real core, with drawn durations and users.

    ``bundles`` are queued jobs that stand for several (`crowd_before`). ``scheduler`` isn't changed.
    """

    def make(seed: int) -> Performer:
        rng = np.random.default_rng(seed)
        horizon = min(LIVE_HORIZON_SECONDS, 2_000 / max(history.per_second(now), 1e-9))
        replica = Replica(
            scheduler.copy(), present, model, history, now, rng, horizon,
            bundles=bundles, newcomers=NEWCOMERS_AT_MOST,
        )  # fmt: skip
        replica.users.begin()
        return replica.performer

    return make
