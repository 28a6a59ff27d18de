"""The situations that a planned workload may meet: an empty centre, a described load, a live queue."""

from __future__ import annotations

import numpy as np

from ketline.core.scheduler import Scheduler
from ketline.planning.advise import Situation
from ketline.planning.centre import Centre
from ketline.planning.closures import announce
from ketline.planning.durations import DurationModel
from ketline.planning.history import History
from ketline.planning.replica import Present, Replica
from ketline.planning.simulate import Load
from ketline.planning.users import Users
from ketline.planning.virtual import Performer

LIVE_HORIZON_SECONDS = 86_400.0


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


def live(
    scheduler: Scheduler, present: Present, model: DurationModel, history: History, now: float
) -> Situation:
    """The queue as it is: copies of the real core, with drawn durations and users.

    ``scheduler`` isn't changed.
    """

    def make(seed: int) -> Performer:
        rng = np.random.default_rng(seed)
        horizon = min(LIVE_HORIZON_SECONDS, 2_000 / max(history.per_second(now), 1e-9))
        replica = Replica(scheduler.copy(), present, model, history, now, rng, horizon)
        replica.users.begin()
        return replica.performer

    return make
