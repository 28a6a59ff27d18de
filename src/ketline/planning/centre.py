"""A centre to be simulated: its QPUs and instances, what a trace implies of them, and what may be varied."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ketline import config
from ketline.core import events
from ketline.core.model import InstanceSpec, Mode, QpuSpec
from ketline.core.scheduler import Scheduler
from ketline.planning.closures import Closure
from ketline.planning.trace import Trace, TraceJob, TraceWorkload


class CentreError(ValueError):
    """A centre, or a variation of one, makes no sense; the message names what."""


@dataclass(frozen=True, slots=True)
class Centre:
    """QPUs and instances, as the core knows them, and what maintenance and reservations there will be."""

    qpus: tuple[QpuSpec, ...]
    instances: tuple[InstanceSpec, ...]
    closures: tuple[Closure, ...] = ()

    def scheduler(self, now: float) -> Scheduler:
        """A fresh core that knows them, at time ``now``."""
        scheduler = Scheduler()
        for qpu in self.qpus:
            scheduler.handle(events.QpuRegistered(qpu), now)
        for instance in self.instances:
            scheduler.handle(events.InstanceRegistered(instance), now)
        return scheduler

    def require(self, trace: Trace) -> None:
        """Raise `CentreError` unless the QPUs and instances of the trace, and of windows, are there."""
        qpus = {qpu.qpu_id for qpu in self.qpus}
        instances = {instance.instance_id for instance in self.instances}
        windows = [closure.window for closure in self.closures]
        reserved = [window.instance_id for window in windows if window.instance_id is not None]
        for what, kind, known, wanted in (
            ("the load", "QPU", qpus, trace.qpus()),
            ("the load", "instance", instances, trace.instances()),
            ("a window", "QPU", qpus, [window.qpu_id for window in windows]),
            ("a window", "instance", instances, reserved),
        ):
            missing = [name for name in wanted if name not in known]
            if missing:
                raise CentreError(
                    f"{what} names {kind} {missing[0]!r}, which the centre doesn't have "
                    f"(it has {', '.join(sorted(known)) or 'none'})"
                )


def implied(trace: Trace) -> Centre:
    """The centre that a trace implies: every QPU and instance that it names, with default figures.

    A trace that names no QPU implies one, ``qpu``. Pending-job limits and usage limits aren't implied.
    """
    return Centre(
        tuple(QpuSpec(name) for name in trace.qpus() or ["qpu"]),
        tuple(InstanceSpec(name) for name in trace.instances()),
    )


def configured(path: Path) -> Centre:
    """The centre of a ``ketline.toml``: its serial QPUs and its instances by name.

    Raises `ketline.config.ConfigError` for a file that can't be used and `CentreError` for one without
    serial QPUs or instances.
    """
    settings = config.load(path)
    qpus = tuple(
        QpuSpec(
            qpu.name,
            lanes=qpu.lanes,
            calibration_interval_seconds=qpu.calibration_interval_seconds,
            calibration_seconds=qpu.calibration_seconds,
            job_overhead_seconds=qpu.job_overhead_seconds,
        )
        for qpu in settings.qpus
        if not qpu.simulator
    )
    instances = tuple(_instance(item, settings) for item in settings.instances)
    if not qpus or not instances:
        raise CentreError(f"{path}: a centre needs [[qpus]] and [[instances]]")
    return Centre(qpus, instances)


def _instance(item: config.InstanceSettings, settings: config.Settings) -> InstanceSpec:
    figures = settings.figures_of(item)
    account = settings.accounts.get(item.account)
    return InstanceSpec(
        instance_id=item.name,
        plan=item.plan,
        account_id=item.account,
        account_allocation_seconds=None if account is None else account.allocation_seconds,
        allocation_seconds=figures.allocation_seconds,
        virtual_allocation_seconds=figures.virtual_allocation_seconds,
        limit_seconds=figures.limit_seconds,
        limit_stops_running=figures.limit_stops_running,
        limit_lets_finish=settings.server.cost_limit_policy == "finish",
        window_seconds=None if figures.contract else figures.window_seconds,
        sessions=figures.sessions,
        open_session_as_jobs=settings.server.open_session_policy == "job-mode",
        max_ttl_seconds=figures.max_ttl_seconds,
        interactive_ttl_seconds=figures.interactive_ttl_seconds,
        batch_interactive_ttl_seconds=figures.batch_interactive_ttl_seconds,
        max_execution_seconds=figures.max_execution_seconds,
        max_pending_jobs=figures.max_pending_jobs,
        qpus=None if item.qpus is None else frozenset(item.qpus),
    )


@dataclass(frozen=True, slots=True)
class Variation:
    """What is different from the centre and the load as they are; None leaves a figure alone.

    ``qpus`` is their number: copies of the last one are added, or the last ones taken away, and every
    workload then goes to the QPU with the fewest unfinished jobs. ``calibration_interval_seconds`` 0 turns
    calibration off. ``sessions_as`` runs the same jobs in another mode. ``limits`` says what a usage limit
    does to running work; ``windows`` off leaves maintenance and reservations out.
    """

    lanes: int | None = None
    qpus: int | None = None
    interactive_ttl_seconds: float | None = None
    batch_interactive_ttl_seconds: float | None = None
    calibration_interval_seconds: float | None = None
    calibration_seconds: float | None = None
    sessions_as: Literal["session", "batch", "job"] | None = None
    limits: Literal["hold", "stop", "off"] | None = None
    windows: Literal["on", "off"] | None = None

    def describe(self) -> str:
        """``lanes=3 qpus=2``, or ``as it is``."""
        given = [(name, getattr(self, name)) for name in self.__slots__]
        return " ".join(f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
                        for name, value in given if value is not None) or "as it is"  # fmt: skip


_WHOLE = ("lanes", "qpus")
_CHOICES = {
    "sessions_as": ("session", "batch", "job"),
    "limits": ("hold", "stop", "off"),
    "windows": ("on", "off"),
}


def parse_variation(words: Sequence[str]) -> Variation:
    """``["lanes=3", "sessions_as=batch"]`` as a `Variation`; `CentreError` names a wrong name or value."""
    given: dict[str, object] = {}
    for word in words:
        name, sign, text = word.partition("=")
        if not sign or name not in Variation.__slots__:
            raise CentreError(
                f"{word!r}: write NAME=VALUE with a name of {', '.join(sorted(Variation.__slots__))}"
            )
        given[name] = _value(name, text)
    return Variation(**given)  # type: ignore[arg-type]  # _value gives each name its type


def _value(name: str, text: str) -> object:
    if name in _CHOICES:
        if text not in _CHOICES[name]:
            raise CentreError(f"{name}={text}: must be one of {', '.join(_CHOICES[name])}")
        return text
    convert: Callable[[str], float] = int if name in _WHOLE else float
    least = 1 if name in _WHOLE else 0
    try:
        value = convert(text)
    except ValueError:
        raise CentreError(f"{name}={text}: must be a {'whole ' if name in _WHOLE else ''}number") from None
    if not least <= value < math.inf:
        raise CentreError(f"{name}={text}: must be a finite number from {least} on")
    return value


def varied(centre: Centre, trace: Trace, variation: Variation) -> tuple[Centre, Trace]:
    """The centre and the load under a variation; neither argument is changed."""
    qpus = [_varied_qpu(qpu, variation) for qpu in centre.qpus]
    if variation.qpus is not None:
        last = qpus[-1]
        qpus = qpus[: variation.qpus]
        qpus += [replace(last, qpu_id=f"{last.qpu_id}_{n}") for n in range(2, variation.qpus - len(qpus) + 2)]
        trace = _rerouted(trace)
    instances = tuple(_varied_instance(instance, variation) for instance in centre.instances)
    if variation.sessions_as not in (None, "session"):
        trace = _converted(trace, Mode.BATCH if variation.sessions_as == "batch" else Mode.JOB)
    closures = () if variation.windows == "off" else centre.closures
    return Centre(tuple(qpus), instances, closures), trace


def _varied_qpu(qpu: QpuSpec, variation: Variation) -> QpuSpec:
    if variation.lanes is not None:
        qpu = replace(qpu, lanes=variation.lanes)
    if variation.calibration_interval_seconds is not None:
        qpu = replace(qpu, calibration_interval_seconds=variation.calibration_interval_seconds or None)
    if variation.calibration_seconds is not None:
        qpu = replace(qpu, calibration_seconds=variation.calibration_seconds)
    return qpu


def _varied_instance(instance: InstanceSpec, variation: Variation) -> InstanceSpec:
    if variation.interactive_ttl_seconds is not None:
        instance = replace(instance, interactive_ttl_seconds=variation.interactive_ttl_seconds)
    if variation.batch_interactive_ttl_seconds is not None:
        instance = replace(instance, batch_interactive_ttl_seconds=variation.batch_interactive_ttl_seconds)
    if variation.limits == "off":
        instance = replace(instance, limit_seconds=None)
    elif variation.limits is not None:
        instance = replace(instance, limit_stops_running=variation.limits == "stop", limit_lets_finish=False)
    return instance


def _rerouted(trace: Trace) -> Trace:
    return Trace(
        [replace(job, qpu="") for job in trace.jobs],
        [replace(workload, qpu="") for workload in trace.workloads],
    )


def _converted(trace: Trace, mode: Mode) -> Trace:
    def job(row: TraceJob) -> TraceJob:
        if row.mode is not Mode.SESSION:
            return row
        return replace(row, mode=mode, workload=row.workload if mode is Mode.BATCH else None)

    def workload(row: TraceWorkload) -> TraceWorkload:
        return replace(row, mode=mode) if row.mode is Mode.SESSION else row

    kept = [row for row in trace.workloads if not (mode is Mode.JOB and row.mode is Mode.SESSION)]
    return Trace([job(row) for row in trace.jobs], [workload(row) for row in kept])
