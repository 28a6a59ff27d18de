"""Maintenance and reservations in simulations: what they do, what they cost, and which make no sense."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from planning_shell import Shell

from ketline.core.model import InstanceSpec, QpuSpec
from ketline.planning.centre import Centre, CentreError, Variation
from ketline.planning.closures import ClosureError, Window, parse_window
from ketline.planning.simulate import compare, load_toml, simulate, study
from ketline.planning.synthetic import Exponential, Poisson, Stream, generate
from ketline.planning.trace import Trace, TraceError, TraceJob
from ketline.planning.trace_files import write

TWO = Centre((QpuSpec("q", lanes=1),), (InstanceSpec("i"), InstanceSpec("j")))


def with_windows(*windows: Window) -> Centre:
    return replace(TWO, closures=tuple(window.closure(n) for n, window in enumerate(windows, 1)))


def one_job_each() -> Trace:
    """Jobs of 10 s, one a quarter of a minute, of two instances in turns."""
    return Trace(
        [
            TraceJob(f"{k}", 15.0 * k, "ij"[k % 2], "q", qpu_seconds=10.0, estimate_seconds=10.0)
            for k in range(8)
        ]
    )


def locks(centre: Centre) -> dict[str, float | None]:
    return {job.job_id: job.locked_at for job in simulate(centre, one_job_each()).record.jobs}


def test_nothing_starts_that_cannot_end_before_maintenance_and_nothing_during_it() -> None:
    found = locks(with_windows(Window(qpu="q", starts_at=38.0, seconds=30.0)))
    # job 2 (at 30 s) would end at 40 s; it and the next ones wait until 68 s
    assert [found[k] for k in "01234"] == [0.0, 15.0, 68.0, 78.0, 88.0]
    run = simulate(with_windows(Window(qpu="q", starts_at=38.0, seconds=30.0)), one_job_each())
    assert run.figures.qpus["q"].closed == pytest.approx(30.0 / run.figures.observed_seconds)


def test_a_reservation_lets_its_instance_alone_work() -> None:
    found = locks(with_windows(Window(qpu="q", starts_at=28.0, seconds=40.0, instance="i")))
    assert [found[k] for k in "024"] == [0.0, 30.0, 60.0]  # i's jobs start as they come
    assert found["3"] == 70.0  # j's wait until the QPU is free after the reservation


def test_a_window_that_is_announced_late_finds_a_job_on_the_qpu() -> None:
    found = locks(with_windows(Window(qpu="q", starts_at=38.0, seconds=30.0, announced_seconds_before=2.0)))
    assert found["2"] == 30.0  # it had started before anybody knew
    assert found["3"] == 68.0


def test_what_a_window_costs_is_told_with_its_interval() -> None:
    centre = with_windows(Window(qpu="q", starts_at=3_600.0, seconds=1_800.0))
    stream = Stream(instance="i", qpu="q", arrivals=Poisson(per_hour=120), qpu_seconds=Exponential(mean=15))
    traces = [generate([stream], 10_800.0, seed) for seed in range(6)]
    found = compare(study(centre, traces), study(centre, traces, Variation(windows="off")))
    waits = found["wait_mean_seconds[job]"]
    assert waits.significant
    assert waits.first > waits.second + 60.0


@pytest.mark.parametrize(
    ("window", "named"),
    [
        (Window(qpu="nowhere", starts_at=0.0, seconds=1.0), "a window names QPU 'nowhere'"),
        (
            Window(qpu="q", starts_at=0.0, seconds=1.0, instance="nobody"),
            "a window names instance 'nobody'",
        ),
    ],
)
def test_windows_of_what_is_not_there_are_refused(window: Window, named: str) -> None:
    with pytest.raises(CentreError, match=named):
        simulate(with_windows(window), one_job_each())


def test_windows_are_read_from_words() -> None:
    assert parse_window("q, 60, 3.5", None) == Window(qpu="q", starts_at=60.0, seconds=3.5)
    assert parse_window("q,0,1,lab", None).instance == "lab"
    start = 1_800_000_000.0  # 2027-01-15 08:00 UTC
    assert parse_window("q,2027-01-15T09:00,60", start).starts_at == 3_600.0
    assert parse_window("q,2027-01-15T09:00+01:00,60", start).starts_at == 0.0


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("q,1", "write QPU,START,SECONDS"),
        ("q,1,2,i,more", "write QPU,START,SECONDS"),
        (",1,2", "qpu"),
        ("q,-1,2", "starts_at"),
        ("q,1,0", "seconds"),
        ("q,1,inf", "seconds"),
        ("q,nan,1", "starts_at"),
        ("q,1,2,", "instance"),
        ("q,soon,2", "neither seconds nor an ISO 8601 time"),
        ("q,2027-01-15T07:00,2", "the trace begins later, at 2027-01-15T08:00:00 UTC"),
    ],
)
def test_windows_that_make_no_sense_are_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(ClosureError, match=named):
        parse_window(text, 1_800_000_000.0)


LOAD = """
seconds = 7200
[[streams]]
instance = "i"
qpu = "q"
qpu_seconds = {kind = "exponential", mean = 15}
arrivals = {kind = "poisson", per_hour = 60}
[[windows]]
qpu = "q"
starts_at = 600
seconds = 900
"""


def test_loads_and_flags_take_windows(ketline: Shell, tmp_path: Path) -> None:
    load = tmp_path / "load.toml"
    load.write_text(LOAD)
    told = json.loads(ketline("simulate", load, "--against", "windows=off", "--seeds", 3, "--json"))
    shares = [setting["runs"][0]["qpus"]["q"]["closed"] for setting in told["settings"]]
    assert shares[0] == pytest.approx(900 / told["settings"][0]["runs"][0]["observed_seconds"])
    assert shares[1] == 0.0
    both = json.loads(ketline("simulate", load, "--window", "q,3000,300,i", "--json"))
    run = both["settings"][0]["runs"][0]
    assert run["qpus"]["q"]["closed"] == pytest.approx(1_200 / run["observed_seconds"])
    assert "in windows" in ketline("simulate", load)
    assert "windows.0.seconds" in _refused(load, LOAD.replace("seconds = 900", "seconds = 0"))
    assert "windows.0.until" in _refused(load, LOAD + "until = 3\n")


def _refused(path: Path, text: str) -> str:
    path.write_text(text)
    with pytest.raises(TraceError) as caught:
        load_toml(path)
    return str(caught.value)


def test_simulate_refuses_windows_by_name(ketline: Shell, tmp_path: Path) -> None:
    load, trace = tmp_path / "load.toml", tmp_path / "t.csv"
    load.write_text(LOAD)
    write(Trace([TraceJob("a", 1_800_000_000.0, "i", "q", qpu_seconds=1)]), trace)
    assert "no dates" in ketline.refused("simulate", load, "--window", "q,2027-01-15T09:00,60")
    assert "'p'" in ketline.refused("simulate", load, "--window", "p,60,60")
    assert "windows=sometimes" in ketline.refused("simulate", load, "--set", "windows=sometimes")
    ketline("simulate", trace, "--window", "q,2027-01-15T09:00,60")
    crowd = ("plan", "--jobs", 2, "--qpu-seconds", 3, "--replicas", 1, "--crowd", load)
    ketline(*crowd)
    load.write_text(LOAD.replace('[[windows]]\nqpu = "q"', '[[windows]]\nqpu = "p"'))
    assert "'p'" in ketline.refused(*crowd)
