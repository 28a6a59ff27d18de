"""A simulated centre behaves as the modes say, and what is measured of it adds up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ketline import config
from ketline.config import ConfigError
from ketline.core.model import InstanceSpec, JobStatus, Mode, QpuSpec
from ketline.planning.centre import (
    Centre,
    CentreError,
    Variation,
    configured,
    implied,
    parse_variation,
    varied,
)
from ketline.planning.simulate import compare, load_toml, simulate, study
from ketline.planning.synthetic import Exponential, Fixed, Poisson, Stream, generate
from ketline.planning.trace import Trace, TraceError, TraceJob, TraceWorkload
from ketline.service.instances import Instance, Instances, instance_row

ONE = Centre((QpuSpec("q"),), (InstanceSpec("i"),))


def test_job_mode_times_follow_the_documented_time_line() -> None:
    trace = Trace([TraceJob("a", 100.0, "i", "q", prepare_seconds=30, qpu_seconds=12, finalize_seconds=8)])
    job = simulate(ONE, trace).record.jobs[0]
    assert (job.running_at, job.ready_at, job.locked_at, job.released_at, job.finished_at) == (
        100,
        130,
        130,
        142,
        150,
    )
    assert job.billed_seconds == 12


def batch_of_three() -> Trace:
    jobs = [
        TraceJob(f"b{k}", 0.0, "i", "q", mode=Mode.BATCH, workload="b", prepare_seconds=20, qpu_seconds=10)
        for k in range(3)
    ]
    return Trace(jobs, [TraceWorkload("b", 0.0, "i", Mode.BATCH, "q", close="never")])


def test_b06_a_batch_overlaps_its_classical_work_and_pays_the_qpu_alone() -> None:
    run = simulate(ONE, batch_of_three())
    (batch,) = run.record.workloads
    assert batch.usage_seconds == 30
    assert max(job.finished_at or 0 for job in run.record.jobs) == 50


def session(*, iterations: int = 3, think: float = 10.0, close: str = "finished", gap: float = 0.0) -> Trace:
    rows = [TraceJob("s0", 0.0, "i", "q", mode=Mode.SESSION, workload="s", prepare_seconds=2, qpu_seconds=5)]
    rows += [
        TraceJob(
            f"s{k}", None, "i", "q", mode=Mode.SESSION, workload="s", prepare_seconds=2, qpu_seconds=5,
            after=f"s{k - 1}", think_seconds=think,
        )
        for k in range(1, iterations)
    ]  # fmt: skip
    return Trace(rows, [TraceWorkload("s", 0.0, "i", Mode.SESSION, "q", close=close, think_seconds=gap)])  # type: ignore[arg-type]


def test_an_iterative_session_pays_thinking_and_classical_time_too() -> None:
    run = simulate(ONE, session())
    figures = run.figures.sessions
    assert run.record.workloads[0].usage_seconds == 3 * 7 + 2 * 10
    assert (figures.on_qpu_seconds, figures.classical_seconds, figures.idle_seconds) == (15, 6, 20)
    assert figures.as_batch_seconds == 15
    assert figures.idle_share == pytest.approx(20 / 41)


def test_a_session_that_is_not_closed_pays_its_interactive_ttl() -> None:
    run = simulate(ONE, session(close="never"))
    assert run.record.workloads[0].usage_seconds == 41 + 60
    assert simulate(ONE, session(gap=5.0)).record.workloads[0].usage_seconds == 46


def test_thinking_beyond_the_interactive_ttl_makes_another_window() -> None:
    run = simulate(ONE, session(iterations=2, think=100.0))
    assert run.record.workloads[0].windows == [(0, 67), (107, 114)]


def test_jobs_after_a_closed_session_are_refused_and_counted() -> None:
    trace = session(iterations=4, think=40.0)
    trace.workloads[0].max_ttl_seconds = 60.0
    run = simulate(ONE, trace)
    assert run.figures.outcomes["completed"] == 2
    assert run.unfinished == 0
    assert len(run.record.jobs) == 2


def test_failures_and_cancellations_of_a_trace_happen() -> None:
    rows = [
        TraceJob("user", 0.0, "i", "q", qpu_seconds=5, outcome="failed"),
        TraceJob("system", 0.0, "i", "q", qpu_seconds=5, outcome="system_failure"),
        TraceJob("early", 0.0, "i", "q", prepare_seconds=3, outcome="failed"),
        TraceJob("on-qpu", 20.0, "i", "q", qpu_seconds=50, outcome="cancelled", cancel_after_seconds=7),
        TraceJob("too-long", 100.0, "i", "q", qpu_seconds=50, limit_seconds=10),
    ]
    jobs = {job.job_id: job for job in simulate(ONE, Trace(rows)).record.jobs}
    assert {name: (job.status, job.billed_seconds) for name, job in jobs.items()} == {
        "user": (JobStatus.FAILED, 5),
        "system": (JobStatus.FAILED, 0),
        "early": (JobStatus.FAILED, 0),
        "on-qpu": (JobStatus.CANCELLED, 7),
        "too-long": (JobStatus.CANCELLED, 10),
    }


def test_a_refused_submission_is_counted() -> None:
    centre = Centre((QpuSpec("q"),), (InstanceSpec("i", max_pending_jobs=1),))
    rows = [TraceJob(name, 0.0, "i", "q", qpu_seconds=5) for name in "ab"]
    figures = simulate(centre, Trace(rows)).figures
    assert (figures.outcomes["completed"], figures.outcomes["refused"]) == (1, 1)


def test_calibration_takes_its_share_of_the_qpu() -> None:
    centre = Centre(
        (QpuSpec("q", calibration_interval_seconds=100, calibration_seconds=20),), (InstanceSpec("i"),)
    )
    load = [Stream(instance="i", arrivals=Poisson(per_hour=60), qpu_seconds=Fixed(value=5))]
    figures = simulate(centre, generate(load, 50_000.0, 1)).figures
    assert figures.qpus["q"].calibrating == pytest.approx(20 / 120, abs=0.04)


BUSY = [
    Stream(
        instance="i",
        arrivals=Poisson(per_hour=200),
        qpu_seconds=Exponential(mean=10),
        prepare_seconds=Fixed(value=5),
    ),
    Stream(
        instance="j",
        arrivals=Poisson(per_hour=4),
        mode="session",
        jobs=Fixed(value=5),
        qpu_seconds=Exponential(mean=10),
        think_seconds=Fixed(value=20),
    ),
]
TWO = Centre((QpuSpec("q"),), (InstanceSpec("i"), InstanceSpec("j")))


def test_what_is_measured_adds_up() -> None:
    run = simulate(TWO, generate(BUSY, 30_000.0, 3))
    figures, record = run.figures, run.record
    billed = sum(line.seconds for line in record.lines)
    by_jobs = sum(job.qpu_seconds for job in record.jobs if job.workload_id is None)
    assert billed == pytest.approx(by_jobs + figures.sessions.usage_seconds)
    assert sum(item.usage_seconds for item in figures.instances.values()) == pytest.approx(billed)
    held = figures.qpus["q"].utilisation * figures.observed_seconds
    assert held == pytest.approx(sum(job.qpu_seconds for job in record.jobs))
    split = figures.sessions
    assert split.on_qpu_seconds + split.classical_seconds + split.idle_seconds == pytest.approx(
        split.usage_seconds
    )


def test_a_second_qpu_shortens_waiting_by_more_than_chance_and_a_changed_nothing_does_not() -> None:
    traces = [generate(BUSY, 20_000.0, seed) for seed in range(5)]
    base = study(TWO, traces)
    found = compare(base, study(TWO, traces, Variation(qpus=2)))["wait_mean_seconds[job]"]
    assert found.significant
    assert found.interval.high < 0
    same = compare(base, study(TWO, traces, Variation(lanes=5)))
    assert not any(difference.significant for difference in same.values())


def test_one_trace_is_compared_job_by_job() -> None:
    traces = [generate(BUSY, 20_000.0, 1)]
    found = compare(study(TWO, traces), study(TWO, traces, Variation(sessions_as="batch")))
    assert found["wait_mean_seconds"].method == "block bootstrap over jobs"
    assert found["wait_mean_seconds"].significant


def test_every_variation_changes_what_it_names() -> None:
    trace = generate(BUSY, 20_000.0, 1)
    words = [
        "lanes=2", "qpus=3", "interactive_ttl_seconds=7", "batch_interactive_ttl_seconds=8",
        "calibration_interval_seconds=900", "calibration_seconds=30", "sessions_as=job", "limits=stop",
    ]  # fmt: skip
    centre, load = varied(TWO, trace, parse_variation(words))
    assert [qpu.qpu_id for qpu in centre.qpus] == ["q", "q_2", "q_3"]
    assert {
        (qpu.lanes, qpu.calibration_interval_seconds, qpu.calibration_seconds) for qpu in centre.qpus
    } == {(2, 900, 30)}
    assert {
        (i.interactive_ttl_seconds, i.batch_interactive_ttl_seconds, i.limit_stops_running)
        for i in centre.instances
    } == {(7, 8, True)}
    assert not load.workloads
    assert {job.mode for job in load.jobs} == {Mode.JOB}
    assert {job.qpu for job in load.jobs} == {""}
    capped = Centre(TWO.qpus, (InstanceSpec("i", limit_seconds=5), InstanceSpec("j")))
    assert varied(capped, trace, Variation(limits="off"))[0].instances[0].limit_seconds is None


@pytest.mark.parametrize(
    "word",
    [
        "lanes",
        "lanes=0",
        "lanes=2.5",
        "qpu=3",
        "limits=maybe",
        "calibration_seconds=-1",
        "calibration_seconds=inf",
    ],
)
def test_a_wrong_variation_is_named(word: str) -> None:
    with pytest.raises(CentreError, match=word.partition("=")[0]):
        parse_variation([word])


def test_a_load_that_names_what_the_centre_lacks_is_refused() -> None:
    with pytest.raises(CentreError, match="QPU 'r'"):
        simulate(ONE, Trace([TraceJob("a", 0.0, "i", "r")]))
    with pytest.raises(CentreError, match="instance 'k'"):
        simulate(ONE, Trace([TraceJob("a", 0.0, "k", "q")]))


def test_what_there_is_no_figure_for_is_null_in_json() -> None:
    centre = Centre((QpuSpec("q"),), (InstanceSpec("i"), InstanceSpec("idle")))
    told = study(centre, [Trace([TraceJob("a", 0.0, "i", "q", qpu_seconds=1)])]).as_dict()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    figures = told["runs"][0]
    assert figures["instances"]["idle"]["waiting"]["median"] is None
    assert figures["sessions"]["idle_share"] is None


def test_a_trace_implies_its_centre() -> None:
    centre = implied(batch_of_three())
    assert [qpu.qpu_id for qpu in centre.qpus] == ["q"]
    assert [instance.instance_id for instance in centre.instances] == ["i"]


def test_a_centre_is_read_from_ketline_toml(tmp_path: Path) -> None:
    path = tmp_path / "ketline.toml"
    path.write_text(
        '[[qpus]]\nname="ket_fez"\nlanes=3\n[[qpus]]\nname="ket_simulator"\nsimulator=true\n'
        '[[instances]]\nname="a"\nplan="open"\n[[instances]]\nname="b"\nlimit_seconds=50\ninteractive_ttl_seconds=0\n'
    )
    centre = configured(path)
    assert [(qpu.qpu_id, qpu.lanes) for qpu in centre.qpus] == [("ket_fez", 3)]
    a, b = centre.instances
    assert (a.sessions, a.limit_seconds, a.max_pending_jobs) == (False, 600, 3)
    assert (b.sessions, b.limit_seconds, b.interactive_ttl_seconds) == (True, 50, 0)
    path.write_text('[[qpus]]\nname="ket_fez"\n[[instances]]\nname="a"\nplan="open"\nlimit_seconds="none"\n')
    assert configured(path).instances[0].limit_seconds is None
    path.write_text('[[instances]]\nname="a"\nplan="gold"\n')
    with pytest.raises(ConfigError, match="gold"):
        configured(path)


def test_a_simulated_centre_has_the_figures_of_the_real_one(tmp_path: Path) -> None:
    path = tmp_path / "ketline.toml"
    path.write_text(
        '[server]\ncost_limit_policy = "finish"\nopen_session_policy = "job-mode"\n'
        "[accounts.lab]\nallocation_seconds = 5000\n[plans.gold]\nsessions = false\nmax_pending_jobs = 7\n"
        '[[qpus]]\nname = "ket_fez"\nlanes = 3\ncalibration_interval_seconds = 600\n'
        '[[instances]]\nname = "a"\nplan = "open"\naccount = "lab"\n'
        '[[instances]]\nname = "b"\nplan = "pay-as-you-go"\nlimit_seconds = 50\nqpus = ["ket_fez"]\n'
        '[[instances]]\nname = "c"\nplan = "flex"\nallocation_seconds = 300\n'
        '[[instances]]\nname = "d"\nplan = "gold"\n'
    )
    settings = config.load(path)
    real = Instances(settings)
    specs = {}
    for item in settings.instances:
        row = Instance.from_row(instance_row(item, 0.0))
        specs[item.name] = replace(real.spec(row), instance_id=item.name)
    found = configured(path)
    assert {item.instance_id: item for item in found.instances} == specs
    assert [(qpu.lanes, qpu.calibration_interval_seconds) for qpu in found.qpus] == [(3, 600.0)]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("seconds = 0\n", "seconds"),
        ("seconds = 10\n", "streams"),
        ('seconds = 10\n[[streams]]\ninstance = "i"\n', "streams.0.arrivals"),
        ("seconds = \n", "not TOML"),
    ],
)
def test_a_wrong_load_file_is_named_with_its_key(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "load.toml"
    path.write_text(text)
    with pytest.raises(TraceError) as caught:
        load_toml(path)
    assert str(path) in str(caught.value)
    assert named in str(caught.value)


def test_a_load_file_makes_the_same_trace_for_the_same_seed(tmp_path: Path) -> None:
    path = tmp_path / "load.toml"
    path.write_text(
        'seconds = 36000\n[[streams]]\ninstance = "i"\n'
        'qpu_seconds = {kind = "pareto", minimum = 1, alpha = 1.2, maximum = 900}\n'
        '[streams.arrivals]\nkind = "daily"\nper_hour = 30\n'
    )
    load = load_toml(path)
    assert load.trace(1) == load.trace(1) != load.trace(2)
    assert simulate(implied(load.trace(1)), load.trace(1)).unfinished == 0
