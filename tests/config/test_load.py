"""What a configuration may say, what wins over what, and how a wrong one is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ketline.config import DEFAULT_PLANS, ConfigError, Settings, load
from ketline.config_problems import emulated_devices
from ketline.qpus.snapshots import devices


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("KETLINE_")]:
        monkeypatch.delenv(variable)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ketline.toml"


def read(file: Path, text: str) -> Settings:
    file.write_text(text, encoding="utf-8")
    return load(file)


def refusal(file: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(file, text)
    return str(caught.value).splitlines()


def test_defaults_are_a_large_and_a_small_qpu_and_a_simulator() -> None:
    settings = load()
    assert [(qpu.device, qpu.simulator) for qpu in settings.qpus] == [
        ("fez", False),
        ("manila", False),
        ("fez", True),
    ]
    assert settings.server.port == 8000


def test_environment_wins_over_file_and_file_over_defaults(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KETLINE_SERVER__PORT", "9001")
    settings = read(file, '[server]\nport = 9000\nhost = "0.0.0.0"\n')
    assert (settings.server.host, settings.server.port) == ("0.0.0.0", 9001)
    assert settings.server.token_seconds == 3_600


def test_a_table_of_a_built_in_plan_changes_only_what_it_gives(file: Path) -> None:
    plans = read(file, "[plans.open]\nlimit_seconds = 1200\n").all_plans()
    assert plans["open"].limit_seconds == 1_200
    assert plans["open"].model_copy(update={"limit_seconds": 600}) == DEFAULT_PLANS["open"]
    assert plans["premium"] == DEFAULT_PLANS["premium"]


def test_environment_changes_one_figure_of_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KETLINE_PLANS__OPEN__MAX_TTL_SECONDS", "300")
    plan = load().all_plans()["open"]
    assert (plan.max_ttl_seconds, plan.sessions, plan.max_pending_jobs) == (300, False, 3)


def test_a_plan_of_the_site_starts_from_the_general_figures(file: Path) -> None:
    plan = read(file, "[plans.course]\nsessions = false\n").all_plans()["course"]
    assert (plan.sessions, plan.max_ttl_seconds, plan.limit_seconds) == (False, 28_800, None)


def test_an_instance_overrides_figures_of_its_plan(file: Path) -> None:
    settings = read(
        file,
        """
        [plans.open]
        max_ttl_seconds = 900
        [[instances]]
        name = "lab"
        plan = "open"
        sessions = true
        limit_seconds = "none"
        """,
    )
    figures = settings.figures_of(settings.instances[0])
    assert figures.sessions is True
    assert figures.limit_seconds is None
    assert figures.max_ttl_seconds == 900
    assert figures.max_pending_jobs == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[servr]\n", 'servr: unknown key; did you mean "server"? allowed: accounts, compute'),
        ("[server]\nprot = 1\n", 'server.prot: unknown key; did you mean "port"? allowed: cost_limit_policy'),
        ("_env_file = 'x'\n", "_env_file: unknown key; allowed: accounts, compute"),
        ("[server]\nport = '8000'\n", "server.port: input should be a valid integer (not '8000')"),
        ("[server]\nport = true\n", "server.port: input should be a valid integer (not True)"),
        ("[server]\nport = 70000\n", "server.port: input should be less than or equal to 65535 (not 70000)"),
        ("[server]\nhold_seconds = inf\n", "server.hold_seconds: input should be a finite number"),
        (
            "[server]\ncost_limit_policy = 'kill'\n",
            "server.cost_limit_policy: input should be 'stop' or 'finish' (not 'kill')",
        ),
        ("[server]\npublic_url = 'centre.org'\n", "server.public_url: string should match pattern"),
        ("server = 3\n", "server: "),
        ("qpus = []\n", "qpus: at least 1 is needed"),
        ("[[qpus]]\ndevice = 'fez'\n", "qpus[0].name: is missing"),
        (
            "[[qpus]]\nname = 'ket_fez'\nlines = 5\n",
            'qpus[0] ("ket_fez").lines: unknown key; did you mean "lanes"? allowed: calibration',
        ),
        (
            "[[qpus]]\nname = 'ket_a'\ndevice = 'fex'\n",
            'qpus[0] ("ket_a").device: no device "fex"; did you mean "fez"?',
        ),
        (
            "[[qpus]]\nname = 'ket_a'\ndriver = 'laser'\n",
            'qpus[0] ("ket_a").driver: no driver "laser"; allowed: ',
        ),
        ("[[qpus]]\nname = 'mock_a'\n", 'qpus[0] ("mock_a").name: names that begin with mock_'),
        (
            "[[qpus]]\nname = 'ket_a'\n[[qpus]]\nname = 'ket_a'\n",
            'qpus[1].name: "ket_a" is taken already',
        ),
        (
            "[[instances]]\nname = 'lab'\nplan = 'opne'\n",
            'instances[0] ("lab").plan: no plan "opne"; did you mean "open"? allowed: flex, on-prem',
        ),
        (
            "[[instances]]\nname = 'lab'\n[[instances]]\nname = 'lab'\n",
            'instances[1].name: "lab" is taken already',
        ),
        (
            "[[instances]]\nname = 'lab'\nqpus = ['ket_fex']\n",
            'instances[0] ("lab").qpus: no QPU "ket_fex"; did you mean "ket_fez"?',
        ),
        ("[[instances]]\nname = 'lab'\nqpus = []\n", 'instances[0] ("lab").qpus: an instance without a QPU'),
        ("[plans.open]\nttl = 3\n", "plans.open.ttl: unknown key; allowed: allocation_seconds"),
        ("[plans.open]\nlimit_seconds = 0\n", "plans.open.limit_seconds: input should be greater than 0"),
        ("[server\n", "not TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_file_key_and_what_is_allowed(
    file: Path, text: str, expected: str
) -> None:
    lines = refusal(file, text)
    assert len(lines) == 1
    assert lines[0].startswith(f"{file}: {expected}")


def test_all_problems_are_told_at_once(file: Path) -> None:
    assert len(refusal(file, "[server]\nport = -1\ntoken_seconds = 1\n[[qpus]]\nname = 'x'\n")) == 3


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: No such file"):
        load(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("KETLINE_SERVER__PORT", "many", "KETLINE_SERVER__PORT: input should be a valid integer"),
        ("KETLINE_SERVER__PROT", "1", 'KETLINE_SERVER__PROT: unknown key; did you mean "port"?'),
        ("KETLINE_SERVR__PORT", "1", 'KETLINE_SERVR__PORT: unknown setting; did you mean "server"?'),
    ],
)
def test_a_wrong_variable_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError) as caught:
        load()
    assert str(caught.value).startswith(expected)


def test_the_devices_that_are_allowed_are_those_that_the_emulator_knows() -> None:
    assert tuple(emulated_devices()) == devices()
