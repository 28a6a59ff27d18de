"""The planner: a month of a centre, forecasts over long queues, how often they hold, and queueing theory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

import numpy as np

from benchmarks.harness import Row
from ketline.core import events
from ketline.core.model import InstanceSpec, Mode, QpuSpec
from ketline.core.scheduler import Scheduler
from ketline.planning.advise import plan
from ketline.planning.backtest import Backtest, backtest
from ketline.planning.centre import Centre
from ketline.planning.durations import DurationModel
from ketline.planning.forecast import Forecaster
from ketline.planning.history import History
from ketline.planning.replica import Present
from ketline.planning.simulate import simulate
from ketline.planning.situations import crowd_before, live
from ketline.planning.statistics import mean_interval
from ketline.planning.synthetic import (
    Amount,
    Bursty,
    Daily,
    Exponential,
    Fixed,
    Lognormal,
    Pareto,
    Poisson,
    Stream,
    generate,
)
from ketline.planning.trace import Trace, of_job
from ketline.planning.workload import Workload
from ketline.service.foresight import PLAN_JOBS

DAY = 86_400.0
MONTH = 30 * DAY
JOBS = 100_000
QUEUE = 10_000
FORECASTS = 7


def main() -> list[Row]:
    return [*_month(), *_long_queue(), *_coverage(), *_theory()]


# ---------------------------------------------------------------- a month


def _mix() -> list[Stream]:
    """About 100,000 jobs a month: 60 % alone, 30 % in batches, 10 % in sessions."""
    hourly = JOBS / (MONTH / 3_600)
    times = {
        "prepare_seconds": Lognormal(median=3, sigma=0.5),
        "finalize_seconds": Lognormal(median=1, sigma=0.5),
    }
    tail = Pareto(minimum=8, alpha=1.2, maximum=3_600)
    alone = [
        Stream(instance=f"i{k}", arrivals=Daily(per_hour=hourly / 10), qpu_seconds=tail, **times)
        for k in range(6)
    ]
    batches = [
        Stream(
            instance=f"i{k}", mode="batch", arrivals=Poisson(per_hour=hourly / 100),
            jobs=Lognormal(median=9, sigma=0.45), qpu_seconds=Lognormal(median=30, sigma=1), **times,
        )
        for k in range(3)
    ]  # fmt: skip
    sessions = Stream(
        instance="i0", mode="session", arrivals=Poisson(per_hour=hourly / 100),
        jobs=Lognormal(median=9, sigma=0.45), qpu_seconds=Lognormal(median=10, sigma=1),
        think_seconds=Exponential(mean=8), **times,
    )  # fmt: skip
    return [*alone, *batches, sessions]


def _centre(qpus: int, instances: int) -> Centre:
    return Centre(
        tuple(
            QpuSpec(f"q{k}", calibration_interval_seconds=3_600, calibration_seconds=60) for k in range(qpus)
        ),
        tuple(InstanceSpec(f"i{k}") for k in range(instances)),
    )


def measure_month() -> None:
    """In a process of its own, whose memory is only this."""
    trace = generate(_mix(), MONTH, 1)
    began = time.process_time()
    run = simulate(_centre(5, 6), trace)
    told = {
        "jobs": len(run.record.jobs),
        "unfinished": run.unfinished,
        "seconds": time.process_time() - began,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "utilisation": run.figures.utilisation,
    }
    print(json.dumps(told))


def _month() -> list[Row]:
    call = "from benchmarks.planning import measure_month; measure_month()"
    done = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert told["unfinished"] == 0
    what = f"{told['jobs']:,} jobs on 5 QPUs over a month ({told['utilisation']:.0%} busy)"
    return [
        Row(f"{what}: CPU time", f"{told['seconds']:.1f} s", "<= 30 s", told["seconds"] <= 30),
        Row(f"{what}: memory", f"{told['megabytes']:.0f} MB", "< 1,000 MB", told["megabytes"] < 1_000),
    ]


# ---------------------------------------------------------------- a long queue


def _past(now: float) -> History:
    """A day of jobs that ended before ``now``."""
    streams = [
        Stream(instance=f"i{k}", arrivals=Poisson(per_hour=6), qpu_seconds=Exponential(mean=20))
        for k in range(20)
    ]
    record = simulate(_centre(5, 20), generate(streams, DAY, 3, start=now - DAY)).record
    history = History()

    history.add(Trace([of_job(job, Mode.JOB) for job in record.jobs]))
    return history


def _long_queue() -> list[Row]:
    rows = []
    now = 10 * DAY
    for qpus, history, past in (
        (1, History(), "no past known"),
        (5, _past(now), "newcomers drawn from a day's past"),
    ):
        scheduler = _centre(qpus, 20).scheduler(now)
        rng = np.random.default_rng(1)
        for k in range(QUEUE):
            estimate = float(rng.lognormal(3, 0.5))
            event = events.JobSubmitted(
                f"j{k}", f"i{k % 20}", "u", f"q{k % qpus}", "sampler", estimate_seconds=estimate
            )
            scheduler.handle(event, now + k * 1e-3)
        forecaster = Forecaster(DurationModel(), history)
        seconds = []
        for _ in range(FORECASTS):
            began = time.process_time()
            forecaster.forecast(scheduler, [f"j{QUEUE - 1}"], now + QUEUE * 1e-3)
            seconds.append(time.process_time() - began)
        what = f"forecast of the last of {QUEUE:,} jobs on {qpus} QPU{'s' * (qpus > 1)}, {past}"
        measured = f"{min(seconds):.2f} s (median {sorted(seconds)[FORECASTS // 2]:.2f} s)"
        rows.append(Row(what, measured, "<= 1 s", min(seconds) <= 1.0))
        rows.append(_plan(scheduler, history, now + QUEUE * 1e-3, qpus))
    return rows


def _plan(scheduler: Scheduler, history: History, now: float, qpus: int) -> Row:
    """The three modes for a workload under a long queue, as `POST /ketline/v1/plan` plays them."""
    workload = Workload(jobs=10, qpu_seconds=5, iterative=True)
    seconds = []
    for _ in range(3):
        began = time.process_time()
        crowd = crowd_before(scheduler, now, workload, "i0", "q0")
        situation = live(crowd.scheduler, Present({}), DurationModel(), history, now, crowd.bundles)
        made = plan(workload, situation, "i0", "q0", jobs_budget=PLAN_JOBS)
        seconds.append(time.process_time() - began)
    what = f"plan of 10 iterations in three modes under {QUEUE:,} jobs on {qpus} QPU{'s' * (qpus > 1)}"
    measured = f"{min(seconds):.2f} s ({made.replicas} replicas)"
    return Row(what, measured, "<= 1.5 s", min(seconds) <= 1.5)


# ---------------------------------------------------------------- how often forecasts hold


def _crowds() -> dict[str, list[Stream]]:
    lognormal = Lognormal(median=20, sigma=0.8)
    alone = Stream(
        instance="i0", qpu="q0", arrivals=Poisson(per_hour=70), qpu_seconds=lognormal,
        prepare_seconds=Lognormal(median=4, sigma=0.5),
    )  # fmt: skip
    other = Stream(
        instance="i1", qpu="q0", program="estimator", arrivals=Poisson(per_hour=40),
        qpu_seconds=Exponential(mean=30), finalize_seconds=Fixed(value=2),
    )  # fmt: skip
    bursts = Bursty(calm_per_hour=25, burst_per_hour=220, calm_seconds=3_000, burst_seconds=600)
    batches = Stream(
        instance="i2", qpu="q0", mode="batch", arrivals=Poisson(per_hour=1),
        jobs=Lognormal(median=8, sigma=0.4), qpu_seconds=lognormal,
        prepare_seconds=Lognormal(median=4, sigma=0.5),
    )  # fmt: skip
    sessions = Stream(
        instance="i3", qpu="q0", mode="session", arrivals=Poisson(per_hour=1.5),
        jobs=Lognormal(median=8, sigma=0.4), qpu_seconds=Lognormal(median=8, sigma=0.6),
        think_seconds=Exponential(mean=8),
    )  # fmt: skip
    return {
        "steady arrivals": [alone, other],
        "bursts": [alone.model_copy(update={"arrivals": bursts}), other],
        "sessions and batches too": [
            alone.model_copy(update={"arrivals": Poisson(per_hour=45)}), other, batches, sessions
        ],
    }  # fmt: skip


def _coverage() -> list[Row]:
    rows = []
    for name, streams in _crowds().items():
        every = [
            backtest(_centre(1, 4), generate(streams, 12 * 3_600.0, seed), every=10, skip=80)
            for seed in range(1, 3)
        ]
        pooled = Backtest(
            [pair for one in every for pair in one.pairs], [s for one in every for s in one.seconds]
        )
        for what, title in (("running", "start"), ("finished", "end")):
            score = pooled.score(what)
            measured = (
                f"{score.inside:.1%} of {score.forecasts} inside; width {score.median_width:.0f} s (median), "
                f"{score.mean_ratio:.2f} of the mean wait of {score.mean_wait:.0f} s"
            )
            reached = abs(score.inside - score.stated) <= 0.05
            rows.append(Row(f"{title} times, {name}", measured, f"{score.stated:.0%} ± 5 %", reached))
    return rows


# ---------------------------------------------------------------- theory


def _theory() -> list[Row]:
    service, rows = 10.0, []
    centre = Centre((QpuSpec("q", lanes=1),), (InstanceSpec("i"),))
    cases: list[tuple[str, Amount, float]] = [
        ("M/M/1", Exponential(mean=service), 1.0),
        ("M/D/1", Fixed(value=service), 0.5),
    ]
    for name, amount, factor in cases:
        for load in (0.5, 0.8):
            streams = [
                Stream(
                    instance="i",
                    qpu="q",
                    arrivals=Poisson(per_hour=load / service * 3_600),
                    qpu_seconds=amount,
                )
            ]
            waits = [
                simulate(centre, generate(streams, 150_000.0, seed), warm_up_seconds=10_000.0)
                .figures.modes["job"]
                .mean
                for seed in range(12)
            ]
            found, truth = mean_interval(waits, 0.99), factor * load * service / (1 - load)
            measured = f"{found.middle:.2f} s ({found.low:.2f} .. {found.high:.2f})"
            rows.append(
                Row(f"mean wait of {name} at load {load:g}", measured, f"{truth:.2f} s", truth in found)
            )
    return rows
