"""The three modes side by side, and an advice that says why."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ketline.core import events
from ketline.core.model import InstanceSpec, Mode, QpuSpec
from ketline.planning.advise import Plan, plan
from ketline.planning.centre import Centre, CentreError
from ketline.planning.durations import DurationModel
from ketline.planning.estimate import Rates
from ketline.planning.history import History
from ketline.planning.replica import Present
from ketline.planning.simulate import Load
from ketline.planning.situations import described, empty, live
from ketline.planning.synthetic import Exponential, Fixed, Poisson, Stream
from ketline.planning.timeline_picture import draw, save
from ketline.planning.trace import Recorded, Trace, TraceJob
from ketline.planning.workload import Workload, WorkloadError, of_past, read_toml
from ketline.planning.workload import described as describe

CENTRE = Centre((QpuSpec("q"),), (InstanceSpec("me"), InstanceSpec("others")))
CROWD = Load(
    seconds=7_200,
    streams=(
        Stream(
            instance="others", arrivals=Poisson(per_hour=150), qpu_seconds=Exponential(mean=20),
            prepare_seconds=Fixed(value=3),
        ),
    ),
)  # fmt: skip


def advise(workload: Workload, crowd: Load | None = None, centre: Centre = CENTRE, replicas: int = 5) -> Plan:
    situation = empty(centre) if crowd is None else described(centre, crowd)
    return plan(workload, situation, "me", "q", replicas=replicas)


def exact(**values: object) -> Workload:
    return Workload(**{"prepare_seconds": 2.0, "finalize_seconds": 1.0, "spread": 0.0, **values})  # type: ignore[arg-type]


def test_one_job_is_a_job() -> None:
    found = advise(exact(jobs=1, qpu_seconds=10))
    assert found.advised is Mode.JOB
    wall = found.modes[Mode.JOB].wall
    usage = found.modes[Mode.SESSION].usage
    assert wall is not None
    assert usage is not None
    assert (wall.low, wall.high) == (13, 13)
    assert usage.middle == 13  # a session pays its classical time too


def test_jobs_that_are_all_ready_are_a_batch_and_a_session_is_dearer() -> None:
    found = advise(exact(jobs=6, circuits=10, shots=1_000))
    assert found.advised is Mode.BATCH
    assert "none waits for another's result" in found.reasons[0]
    assert any("combined" in hint and "10 s of fixed" in hint for hint in found.hints)
    batch, session = (found.modes[mode].usage for mode in (Mode.BATCH, Mode.SESSION))
    assert batch is not None
    assert session is not None
    assert batch.middle == pytest.approx(6 * (2 + 10 * 1_000 * 0.00035))
    assert session.middle > batch.middle


def test_iterations_under_a_crowd_are_a_session_and_what_it_costs_is_told() -> None:
    workload = exact(jobs=8, qpu_seconds=3, iterative=True, think_seconds=4)
    found = advise(workload, CROWD)
    assert found.advised is Mode.SESSION
    session, job = found.modes[Mode.SESSION], found.modes[Mode.JOB]
    assert session.wall is not None
    assert job.wall is not None
    assert session.wall.middle < 0.9 * job.wall.middle
    assert session.idle is not None
    assert session.idle.middle == pytest.approx(7 * 4)
    assert session.usage is not None
    # its first job is prepared while others drain, which isn't billed (modes.md 3.5)
    assert session.usage.middle == pytest.approx(8 * 6 + 7 * 4 - 2)
    text = " ".join(found.reasons)
    assert "8 iterations" in text
    assert re.search(r"is billed .* s instead of ", text)


def test_iterations_on_an_empty_centre_need_no_session() -> None:
    found = advise(exact(jobs=5, qpu_seconds=3, iterative=True, think_seconds=4))
    assert found.advised is not Mode.SESSION
    assert any("save little time" in reason for reason in found.reasons)


def test_a_plan_without_sessions_is_told_so() -> None:
    centre = Centre((QpuSpec("q"),), (InstanceSpec("me", plan="open", sessions=False, max_pending_jobs=3),))
    found = advise(exact(jobs=3, qpu_seconds=3, iterative=True), centre=centre)
    assert found.modes[Mode.SESSION].refused == "" or found.modes[Mode.SESSION].usage is None
    many = advise(exact(jobs=9, qpu_seconds=3), centre=centre)
    assert "3" in many.modes[Mode.JOB].refused


def test_long_thinking_and_a_short_ttl_are_warned_of() -> None:
    centre = Centre(
        (QpuSpec("q"),), (InstanceSpec("me", max_ttl_seconds=100, limit_seconds=20), InstanceSpec("others"))
    )
    found = advise(
        exact(
            jobs=4, qpu_seconds=3, iterative=True, think_seconds=70, reuses_noise_model=True, close_seconds=5
        ),
        centre=centre,
    )
    text = " ".join(found.hints)
    assert "interactive TTL" in text
    assert "Close the session" in text


def test_rates_turn_usage_into_cost_and_without_rates_there_is_none() -> None:
    workload = exact(jobs=2, qpu_seconds=5)
    priced = plan(workload, empty(CENTRE), "me", "q", replicas=2, rates=Rates("EUR", {("*", "*"): 2.0}))
    cost = priced.modes[Mode.BATCH].cost
    assert cost is not None
    assert cost.middle == 20
    assert all("cost" not in mode for mode in advise(workload, replicas=2).as_dict()["modes"])


def test_more_spread_makes_wider_intervals_and_a_seed_repeats() -> None:
    tight, wide = (
        advise(Workload(jobs=4, qpu_seconds=10, spread=spread), replicas=8).modes[Mode.JOB].wall
        for spread in (0.05, 0.8)
    )
    assert tight is not None
    assert wide is not None
    assert wide.width > 4 * tight.width
    again = advise(Workload(jobs=4, qpu_seconds=10, spread=0.8), replicas=8).modes[Mode.JOB].wall
    assert again == wide


def test_a_live_queue_is_played_on_copies() -> None:
    scheduler = CENTRE.scheduler(1_000.0)
    for k in range(12):
        scheduler.handle(
            events.JobSubmitted(f"o{k}", "me", "u", "q", "sampler", estimate_seconds=30.0), 1_000.0
        )
    situation = live(scheduler, Present({}), DurationModel(), History(), 1_000.0)
    found = plan(exact(jobs=2, qpu_seconds=5), situation, "me", "q", replicas=4)
    waiting = found.modes[Mode.JOB].waiting
    assert waiting is not None
    assert waiting.low > 100
    assert len(scheduler.jobs) == 12
    scheduler.check()


def test_the_picture_shows_the_three_modes(tmp_path: Path) -> None:
    found = advise(exact(jobs=5, qpu_seconds=3, iterative=True, think_seconds=2), CROWD, replicas=3)
    panels = found.panels()
    assert [panel.title for panel in panels] == ["job mode", "batch mode", "session mode"]
    assert all({job.workload for job in panel.jobs} == {"yours", "others"} for panel in panels)
    svg, png = save(draw(panels, "plan"), tmp_path / "plan")
    assert "session mode" in svg.read_text()
    assert png.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"jobs": 0, "qpu_seconds": 1}, "jobs"),
        ({"jobs": 1}, "either qpu_seconds or circuits"),
        ({"jobs": 1, "qpu_seconds": 1, "circuits": 5}, "either qpu_seconds or circuits"),
        ({"jobs": 1, "qpu_seconds": 1, "shots": 5}, "shots goes with circuits"),
        ({"jobs": 1, "qpu_seconds": 1, "think_seconds": 5}, "think_seconds needs iterative"),
        ({"jobs": 1, "qpu_seconds": 1, "qubits": 5}, "qubits"),
    ],
)
def test_a_description_that_makes_no_sense_is_named(values: dict[str, object], named: str) -> None:
    with pytest.raises(WorkloadError, match=named):
        describe(values, "flags")


def test_a_description_file_is_read_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "work.toml"
    path.write_text("jobs = 3\nqpu_seconds = 4.5\n")
    assert describe(read_toml(path), str(path)).job_seconds == 4.5
    path.write_text("jobs = \n")
    with pytest.raises(WorkloadError, match="not TOML"):
        read_toml(path)
    with pytest.raises(WorkloadError, match=r"missing\.toml"):
        read_toml(tmp_path / "missing.toml")


def test_past_jobs_describe_a_workload() -> None:
    rows, at = [], 0.0
    for k in range(6):
        rows.append(
            TraceJob(
                f"p{k}", at, "me", "q", program="estimator", prepare_seconds=1, qpu_seconds=4,
                finalize_seconds=1, recorded=Recorded(finished_at=at + 6),
            )
        )  # fmt: skip
        at += 16
    loop = of_past(Trace(rows), [f"p{k}" for k in range(6)])
    assert (loop.jobs, loop.iterative, loop.think_seconds, loop.qpu_seconds, loop.program) == (
        6,
        True,
        10,
        4,
        "estimator",
    )
    for row in rows:
        row.submitted_at = 0.0
    assert not of_past(Trace(rows), ["p0", "p1", "p2"]).iterative
    with pytest.raises(WorkloadError, match="'nobody'"):
        of_past(Trace(rows), ["nobody"])


def test_a_described_crowd_must_fit_the_centre() -> None:
    with pytest.raises(CentreError, match="'others'"):
        described(Centre((QpuSpec("q"),), (InstanceSpec("me"),)), CROWD)


def test_where_no_mode_is_possible_none_is_advised() -> None:
    centre = Centre((QpuSpec("q"),), (InstanceSpec("me", archived=True),))
    found = advise(exact(jobs=2, qpu_seconds=5), centre=centre, replicas=2)
    assert found.advised is None
    assert "archived" in found.reasons[0]
    assert found.as_dict()["advised"] is None
    assert found.hints == ()


def test_what_else_helps() -> None:
    def said(**values: object) -> str:
        return " ".join(advise(exact(**values), replicas=1).hints)

    assert "combined" in said(jobs=5, qpu_seconds=3)
    assert "combined" not in said(jobs=5, qpu_seconds=90)
    assert "rep_delay" in said(jobs=1, circuits=100, shots=4_000)
    assert "rep_delay" not in said(jobs=1, circuits=100, shots=4_000, rep_delay_seconds=1e-5)
    noisy: dict[str, object] = {"jobs": 2, "iterative": True, "reuses_noise_model": True}
    assert "into a few parts" in said(**noisy, qpu_seconds=90, prepare_seconds=60.0)
    assert "into a few parts" not in said(**noisy, qpu_seconds=90)
    assert "five parts" in said(jobs=1, qpu_seconds=900)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"jobs": 0, "qpu_seconds": 1}, "workload: jobs: input should be greater than or equal to 1 (not 0)"),
        ({"jobs": 2}, "workload: workload: give either qpu_seconds or circuits"),
        ({"jobs": 2, "qpu_seconds": "1"}, "workload: qpu_seconds: input should be a valid number (not '1')"),
        ({"jobs": 2, "qpu_seconds": 1, "iterative": 1}, "iterative: input should be a valid boolean (not 1)"),
        ({"jobs": 2, "qpu_seconds": 1, "finalize_seconds": float("inf")}, "finite number (not inf)"),
        ({"jobs": 2, "qpu_seconds": float("nan")}, "qpu_seconds: input should be"),
        ({"jobs": 2, "circuits": 10**6, "shots": 10**6}, "longer than the longest job (10,800 s)"),
        ({"jobs": 2, "qpu_seconds": 1, "iterative": True, "jobs_per_iteration": 3}, "more than all 2 jobs"),
        ({"jobs": 2, "qpu_seconds": 1, "nonsense": 1}, "workload: nonsense: there is no such key"),
    ],
)
def test_what_makes_no_sense_is_named_with_its_value(values: dict[str, object], words: str) -> None:
    with pytest.raises(WorkloadError) as refused:
        describe(values, "workload")
    assert words in str(refused.value)
