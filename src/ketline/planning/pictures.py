"""Pictures of simulations: how long jobs waited, and what the QPUs did over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ketline.core.model import Mode
from ketline.planning.simulate import Run, Setting
from ketline.planning.trace import NAMES_OF_MODES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"job": "#0072B2", "batch": "#009E73", "session": "#D55E00"}
STYLES = ("-", "--")
BINS = 120


def draw(settings: Sequence[Setting]) -> Figure:
    """Waiting by mode, waiting by instance and utilisation over time, of one setting or of two."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 9.0), facecolor="white", layout="constrained")
    waits, instances, busy = figure.subplots(3, 1)
    for setting, style in zip(settings, STYLES, strict=False):
        _draw_waits(waits, setting, style)
        _draw_utilisation(busy, setting, style)
    _draw_instances(instances, settings)
    names = " (solid), ".join(setting.variation.describe() for setting in settings)
    figure.suptitle(f"{names} (dashed)" if len(settings) > 1 else names)
    return figure


def _modes(run: Run) -> dict[str, NDArray[np.float64]]:
    modes = {workload.workload_id: workload.mode for workload in run.record.workloads}
    found: dict[str, list[float]] = {}
    for job in run.record.jobs:
        if job.running_at is not None and run.since <= job.created_at <= run.until:
            mode = Mode.JOB if job.workload_id is None else modes.get(job.workload_id, Mode.BATCH)
            found.setdefault(NAMES_OF_MODES[mode], []).append(job.running_at - job.created_at)
    return {mode: np.array(waits) for mode, waits in sorted(found.items())}


def _draw_waits(axes: Axes, setting: Setting, style: str) -> None:
    each = [_modes(run) for run in setting.runs]
    for mode in sorted({mode for waits in each for mode in waits}):
        waits = np.sort(np.concatenate([found[mode] for found in each if mode in found]))
        share = np.arange(1, waits.size + 1) / waits.size
        axes.step(np.maximum(waits, 0.1), share, style, where="post", color=COLOURS[mode], label=mode)
    axes.set_xscale("log")
    axes.set_xlabel("seconds from submission until running")
    axes.set_ylabel("share of jobs")
    axes.set_title("Waiting by mode")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)


def _draw_instances(axes: Axes, settings: Sequence[Setting]) -> None:
    names = list(settings[0].runs[0].figures.instances)
    width = 0.8 / len(settings)
    for number, setting in enumerate(settings):
        for figure, alpha in (("p95", 0.35), ("median", 0.9)):
            heights = [_mean_wait(setting, name, figure) for name in names]
            label = f"{'95th percentile' if figure == 'p95' else 'median'}, {setting.variation.describe()}"
            places = np.arange(len(names)) + (number - (len(settings) - 1) / 2) * width
            axes.bar(places, heights, width, alpha=alpha, color=("#0072B2", "#D55E00")[number], label=label)
    axes.set_xticks(np.arange(len(names)), names)
    axes.set_ylabel("seconds")
    axes.set_title("Waiting by instance")
    axes.legend(frameon=False)


def _mean_wait(setting: Setting, name: str, figure: str) -> float:
    waits = [run.figures.instances[name].waiting for run in setting.runs]
    values = [getattr(waiting, figure) for waiting in waits if waiting.jobs]
    return float(np.mean(values)) if values else 0.0


def _draw_utilisation(axes: Axes, setting: Setting, style: str) -> None:
    run = setting.runs[0]
    edges = np.linspace(run.since, run.until, BINS + 1)
    spans = [
        (job.locked_at, job.released_at)
        for job in run.record.jobs
        if job.locked_at is not None and job.released_at is not None
    ]
    if not spans:
        return
    busy = _covered(np.array(spans), edges) / (len(run.figures.qpus) * np.diff(edges))
    hours = (edges[:-1] - run.since) / 3_600
    axes.step(hours, busy, style, where="post", color="#333333", label=setting.variation.describe())
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("hours")
    axes.set_ylabel("share of the QPUs' time on jobs")
    axes.set_title("Utilisation over time (first seed)")
    axes.grid(alpha=0.3)


def _covered(spans: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds of the spans, shape ``(n, 2)``, that fall into each bin, shape ``(bins,)``."""
    starts, ends = np.sort(spans[:, 0]), np.sort(spans[:, 1])
    # the integral of how many spans have begun, less that of how many have ended, up to each edge
    begun = _integral(starts, edges)
    over = _integral(ends, edges)
    covered: NDArray[np.float64] = np.diff(begun - over)
    return covered


def _integral(times: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    sums = np.concatenate([[0.0], np.cumsum(times)])
    count = np.searchsorted(times, edges, side="right")
    passed: NDArray[np.float64] = count * edges - sums[count]
    return passed
