"""Figures of simulations as rows of tables: what people read, and the same for spreadsheets."""

from __future__ import annotations

from typing import Any

import numpy as np

from ketline.planning.measure import Figures, Waiting
from ketline.planning.simulate import Setting
from ketline.planning.statistics import Difference

Row = dict[str, Any]


def waiting_rows(setting: Setting) -> list[Row]:
    """Waiting by mode and by instance, means over the runs; times in seconds."""
    rows = []
    for kind in ("modes", "instances"):
        each = [_waits(run.figures, kind) for run in setting.runs]
        for name in dict.fromkeys(name for waits in each for name in waits):
            found = [waits[name] for waits in each if name in waits and waits[name].jobs]
            if found:
                rows.append({"of": "mode" if kind == "modes" else "instance", "name": name, **_mean(found)})
    return rows


def _waits(figures: Figures, kind: str) -> dict[str, Waiting]:
    if kind == "modes":
        return figures.modes
    return {name: item.waiting for name, item in figures.instances.items()}


def _mean(found: list[Waiting]) -> Row:
    def of(name: str) -> float:
        return float(np.mean([getattr(waiting, name) for waiting in found]))

    return {
        "jobs": round(of("jobs")),
        "median": of("median"),
        "mean": of("mean"),
        "p95": of("p95"),
        "qpu_median": of("qpu_median"),
        "qpu_p95": of("qpu_p95"),
    }


WAITING_COLUMNS = {
    "of": "of",
    "name": "name",
    "jobs": "jobs",
    "median": "wait: median (s)",
    "mean": "mean (s)",
    "p95": "95 % (s)",
    "qpu_median": "to the QPU: median (s)",
    "qpu_p95": "95 % (s)",
}


def qpu_rows(setting: Setting) -> list[Row]:
    """Shares of the observed time for each QPU, means over the runs."""
    names = setting.runs[0].figures.qpus
    return [
        {
            "qpu": name,
            **{
                share: float(np.mean([getattr(run.figures.qpus[name], share) for run in setting.runs]))
                for share in ("utilisation", "calibrating", "idle_in_sessions", "closed")
            },
            "jobs": round(float(np.mean([run.figures.qpus[name].jobs for run in setting.runs]))),
        }
        for name in names
    ]


QPU_COLUMNS = {
    "qpu": "QPU",
    "utilisation": "share of time on jobs",
    "calibrating": "calibrating",
    "idle_in_sessions": "idle in sessions",
    "closed": "in windows",
    "jobs": "jobs",
}


def summary_rows(setting: Setting) -> list[Row]:
    """Fairness, sessions and outcomes, means over the runs."""

    def mean(values: list[float]) -> float:
        return float(np.mean(values))

    figures = [run.figures for run in setting.runs]
    rows = [
        {"figure": "utilisation of the QPUs", "value": mean([f.utilisation for f in figures])},
        {
            "figure": "fairness of usage over allocation (Jain)",
            "value": mean([f.jain_usage for f in figures]),
        },
        {"figure": "fairness of waiting (Jain)", "value": mean([f.jain_waiting for f in figures])},
    ]
    billed = [f.sessions for f in figures if f.sessions.usage_seconds > 0]
    if billed:
        rows += [
            {"figure": "sessions", "value": mean([s.sessions for s in billed])},
            {"figure": "billed to sessions (s)", "value": mean([s.usage_seconds for s in billed])},
            {"figure": "idle share of sessions", "value": mean([s.idle_share for s in billed])},
            {"figure": "the same jobs as batches (s)", "value": mean([s.as_batch_seconds for s in billed])},
        ]
    for outcome in figures[0].outcomes:
        count = mean([float(f.outcomes[outcome]) for f in figures])
        if count or outcome == "completed":
            rows.append({"figure": f"jobs {outcome}", "value": count})
    unfinished = mean([float(run.unfinished) for run in setting.runs])
    if unfinished:
        rows.append({"figure": "jobs unfinished at the end", "value": unfinished})
    return rows


SUMMARY_COLUMNS = {"figure": "figure", "value": "value"}


def difference_rows(found: dict[str, Difference]) -> list[Row]:
    """Both settings' figures, the difference with its interval, and the verdict."""
    return [
        {
            "figure": name,
            "first": difference.first,
            "second": difference.second,
            "difference": difference.interval.middle,
            "low": difference.interval.low,
            "high": difference.interval.high,
            "p_value": difference.p_value,
            "verdict": "differs" if difference.significant else "may be chance",
            "method": difference.method,
            "pairs": difference.pairs,
        }
        for name, difference in found.items()
    ]


DIFFERENCE_COLUMNS = {
    "figure": "figure",
    "first": "first",
    "second": "second",
    "difference": "difference",
    "low": "from",
    "high": "to",
    "p_value": "p",
    "verdict": "verdict",
}
