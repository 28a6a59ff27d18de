"""The planner's verbs, as a shell sees them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from planning_shell import Shell

from ketline.core.model import Mode
from ketline.planning.trace import Recorded, Trace, TraceJob, TraceWorkload
from ketline.planning.trace_files import write

LOAD = """
seconds = 14400
[[streams]]
instance = "chemistry"
mode = "session"
jobs = {kind = "fixed", value = 5}
qpu_seconds = {kind = "exponential", mean = 8}
think_seconds = {kind = "fixed", value = 20}
arrivals = {kind = "poisson", per_hour = 4}
[[streams]]
instance = "physics"
qpu_seconds = {kind = "exponential", mean = 15}
arrivals = {kind = "poisson", per_hour = 120}
"""


@pytest.fixture
def load(tmp_path: Path) -> Path:
    path = tmp_path / "load.toml"
    path.write_text(LOAD)
    return path


def test_simulate_prints_tables_and_draws(ketline: Shell, load: Path, tmp_path: Path) -> None:
    picture = tmp_path / "pictures" / "sim.svg"
    out = ketline("simulate", load, "--seeds", 2, "--picture", picture)
    for word in ("chemistry", "physics", "session", "Jain", "idle share of sessions", "utilisation"):
        assert word in out
    assert "Waiting by mode" in picture.read_text()


def test_simulate_compares_two_settings_as_json(ketline: Shell, load: Path) -> None:
    told = json.loads(ketline("simulate", load, "--seeds", 4, "--against", "qpus=3", "--json"))
    assert [setting["setting"] for setting in told["settings"]] == ["as it is", "qpus=3"]
    assert len(told["settings"][0]["runs"]) == 4
    waits = {row["figure"]: row for row in told["differences"]}["wait_mean_seconds[job]"]
    assert waits["verdict"] == "differs"
    assert waits["high"] < 0
    once = ketline("simulate", load, "--seeds", 1, "--set", "lanes=2", "--json")
    again = ketline("simulate", load, "--seeds", 1, "--set", "lanes=2", "--json")
    strip = [json.loads(text)["settings"][0]["headline"] for text in (once, again)]
    assert strip[0] == strip[1]


def test_simulate_refuses_by_name(ketline: Shell, load: Path, tmp_path: Path) -> None:
    trace = tmp_path / "t.csv"
    write(Trace([TraceJob("a", 0.0, "i", "q", qpu_seconds=1)]), trace)
    assert "--seeds 3" in ketline.refused("simulate", trace, "--seeds", 3)
    assert "lane=3" in ketline.refused("simulate", load, "--set", "lane=3")
    assert ".svg or .png" in ketline.refused("simulate", load, "--picture", "x.gif")
    assert "missing.csv" in ketline.refused("simulate", tmp_path / "missing.csv")
    centre = tmp_path / "ketline.toml"
    centre.write_text('[[qpus]]\nname = "ket_fez"\n[[instances]]\nname = "physics"\n')
    assert "chemistry" in ketline.refused("simulate", load, "--centre", centre)


def test_plan_compares_the_modes_and_draws(ketline: Shell, load: Path, tmp_path: Path) -> None:
    flags = ("--jobs", 8, "--qpu-seconds", 4, "--iterative", "--think-seconds", 3, "--replicas", 4)
    out = ketline("plan", *flags, "--crowd", load, "--picture", tmp_path / "plan")
    for word in ("wall time", "usage billed", "of it idle", "Advice:", "session"):
        assert word in out
    assert "cost" not in out
    assert "session mode" in (tmp_path / "plan.svg").read_text()
    told = json.loads(ketline("plan", *flags, "--crowd", load, "--json"))
    assert [mode["mode"] for mode in told["modes"]] == ["job", "batch", "session"]


def test_plan_reads_a_file_that_flags_override(ketline: Shell, tmp_path: Path) -> None:
    path = tmp_path / "work.toml"
    path.write_text("jobs = 3\nqpu_seconds = 10\nspread = 0\nprepare_seconds = 0\nfinalize_seconds = 0\n")
    told = json.loads(ketline("plan", path, "--jobs", 5, "--json"))
    assert told["modes"][0]["usage_seconds"]["median"] == pytest.approx(50)
    circuits = json.loads(ketline("plan", path, "--circuits", 1, "--shots", 4096, "--json"))
    assert circuits["modes"][0]["usage_seconds"]["median"] == pytest.approx(3 * 3.4336)


def test_plan_takes_past_jobs(ketline: Shell, tmp_path: Path) -> None:
    rows = [
        TraceJob(f"p{k}", 100.0 * k, "i", "q", qpu_seconds=7, recorded=Recorded(finished_at=100.0 * k + 20))
        for k in range(4)
    ]
    for row in rows:
        row.mode, row.workload = Mode.SESSION, "s"
    trace = tmp_path / "past.parquet"
    write(Trace(rows, [TraceWorkload("s", 0.0, "i", Mode.SESSION, "q")]), trace)
    told = json.loads(ketline("plan", "--past", trace, "--of", "s", "--json"))
    assert told["modes"][0]["usage_seconds"]["median"] == pytest.approx(28, rel=0.01)
    assert told["modes"][0]["wall_seconds"]["median"] > 3 * 80
    assert "'x'" in ketline.refused("plan", "--past", trace, "--of", "x")
    assert "--past goes with --of" in ketline.refused("plan", "--past", trace)
    assert "--of needs --past" in ketline.refused("plan", "--of", "s")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ((), "describe the workload"),
        (("--jobs", 2), "either qpu_seconds or circuits"),
        (("--jobs", 2, "--qpu-seconds", 5, "--think-seconds", 5), "think_seconds needs iterative"),
        (("--jobs", 2, "--qpu-seconds", 5, "--data", "x", "--crowd", "y"), "--crowd goes without --data"),
        (("missing.toml",), "missing.toml"),
    ],
)
def test_plan_refuses_by_name(ketline: Shell, words: tuple[object, ...], named: str) -> None:
    assert named in ketline.refused("plan", *words)


@pytest.mark.parametrize("verb", ["export", "explain"])
def test_verbs_of_a_folder_refuse_one_without_data(ketline: Shell, tmp_path: Path, verb: str) -> None:
    assert "no data of a server" in ketline.refused(verb, "x.csv", "--data", tmp_path)


def test_top_needs_a_running_server(ketline: Shell, tmp_path: Path) -> None:
    assert "no server is running" in ketline.refused("top", "--data", tmp_path, "--once")


def test_backtest_tells_how_often_the_truth_fell_inside(
    ketline: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ketline.planning.forecast.MAX_REPLICAS", 13)
    load = tmp_path / "load.toml"
    load.write_text(
        LOAD.replace("seconds = 14400", "seconds = 4800").replace("per_hour = 120", "per_hour = 150")
    )
    flags = ("--every", 4, "--skip", 60, "--seed", 3)
    told = json.loads(ketline("backtest", load, *flags, "--json"))
    for name in ("running", "finished"):
        score = told[name]
        assert score["stated"] == 0.9
        assert score["forecasts"] >= 10
        assert 0.6 <= score["inside"] <= 1.0
        assert 0 < score["median_width"] <= score["p90_width"]
    narrow = json.loads(ketline("backtest", load, *flags, "--coverage", 0.5, "--json"))
    assert narrow["finished"]["stated"] == 0.5
    assert narrow["finished"]["median_width"] < told["finished"]["median_width"]
    out = ketline("backtest", load, *flags, "--window", "qpu,3000,600")
    for word in ("truth inside", "start", "end", "A forecast took"):
        assert word in out


def test_backtest_refuses_by_name(ketline: Shell, load: Path, tmp_path: Path) -> None:
    assert "missing.csv" in ketline.refused("backtest", tmp_path / "missing.csv")
    assert "--window" in ketline.refused("backtest", load, "--window", "qpu,1")
    assert "lower --skip" in ketline.refused("backtest", load, "--skip", 100_000)
    assert "--coverage" in ketline.refused("backtest", load, "--coverage", 1.5)
