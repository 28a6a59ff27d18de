"""Every setting, once: defaults < ``ketline.toml`` < environment (``KETLINE_SERVER__PORT=8000``, …).

The reference page is made from the descriptions here. What is wrong with a configuration is told by
`ketline.config_problems`.
"""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

ENV_PREFIX = "KETLINE_"
ENV_DELIMITER = "__"


T = TypeVar("T")
Unsettable = Annotated[T | None, BeforeValidator(lambda value: None if value == "none" else value)]
"""A figure that may be absent: TOML has no null, so ``"none"`` says so."""


LONGEST_SECONDS = 1_000_000_000
"""About 31 years: every time that lies so far ahead or back can still be told."""

Amount = Annotated[float, Field(gt=0, le=1_000_000_000_000)]
"""Seconds of usage."""

Count = Annotated[int, Field(gt=0, le=1_000_000_000)]


class ConfigError(Exception):
    """A configuration can't be used; the message names the file, the key and what is allowed."""


class Section(BaseModel):
    """A table of the configuration; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class ServerSettings(Section):
    """``[server]``: where and how requests are answered."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(8000, ge=0, le=65_535)
    """Port to listen on; 0 takes a free one."""
    public_url: str | None = Field(None, pattern=r"^https?://[^/\s]+")
    """The URL under which clients see this server, when it isn't the address it listens on."""
    hold_seconds: float = Field(0.4, ge=0, le=30)
    """How long GET /jobs/{id} of an unfinished job may be held until its state changes; 0 turns it off."""
    hold_session_seconds: float = Field(0.08, ge=0, le=30)
    """The same for jobs of a session, whose clients poll more often."""
    max_payload_bytes: int = Field(50_000_000, ge=1_000)
    """Largest request body that POST /jobs takes."""
    submissions_per_minute: int | None = Field(None, ge=1)
    """Submissions a user may make a minute (a token bucket); unset means no limit."""
    token_seconds: int = Field(3_600, ge=60)
    """Life of an access token."""
    open_session_policy: Literal["reject", "job-mode"] = "reject"
    """What happens when a plan without sessions asks for one: refuse (1352), or run its jobs in job mode."""
    cost_limit_policy: Literal["stop", "finish"] = "stop"
    """Whether a cost limit stops what runs, or lets it finish."""


class StoreSettings(Section):
    """``[store]``: where what must survive is kept."""

    database_url: str | None = None
    """SQLAlchemy URL; unset means SQLite in the data folder."""
    payload_url: str | None = None
    """fsspec URL of the folder for payloads and results; unset means a folder in the data folder."""


class ComputeSettings(Section):
    """``[compute]``: worker processes for preparing and finalizing."""

    workers: int | None = Field(None, ge=1)
    """Worker processes; unset means one a core, two at least and eight at most."""
    memory_bytes: int = Field(4_000_000_000, ge=200_000_000)
    """Memory that one task may take."""
    prepare_seconds: float = Field(600.0, gt=0)
    """Time that preparing one job may take."""
    finalize_seconds: float = Field(600.0, gt=0)
    """Time that finalizing one job may take."""
    max_decompressed_bytes: int = Field(2_000_000_000, ge=1_000_000)
    """Size that a compressed part of a payload may grow to."""


class PlanSettings(Section):
    """``[plans.<name>]``: the figures of a plan."""

    display_name: str | None = None
    """Name that the catalog shows; unset means the plan's own."""
    pricing_type: Literal["free", "trial", "paygo", "paid", "subscription"] = "paid"
    """Pricing type that the catalog shows."""
    sessions: bool = True
    """Whether dedicated sessions are allowed."""
    max_ttl_seconds: float = Field(28_800.0, ge=1, le=LONGEST_SECONDS)
    """Default and maximum life of a session or batch."""
    interactive_ttl_seconds: float = Field(60.0, ge=0, le=LONGEST_SECONDS)
    """Idle time after which an active session becomes inactive."""
    batch_interactive_ttl_seconds: float = Field(1.0, ge=0, le=LONGEST_SECONDS)
    """Idle time after which an active batch becomes inactive."""
    max_execution_seconds: float = Field(10_800.0, gt=0, le=LONGEST_SECONDS)
    """Largest QPU usage of one job."""
    allocation_seconds: Unsettable[Amount] = None
    """Weight in fair share: seconds per window; ``"none"`` means the virtual allocation."""
    virtual_allocation_seconds: Amount = 28_800.0
    """Weight of an instance without an allocation."""
    limit_seconds: Unsettable[Amount] = None
    """Usage at which pending work is held; ``"none"`` means no limit."""
    limit_stops_running: bool = False
    """Whether the limit is a cost limit, which also stops what runs."""
    window_seconds: float = Field(28 * 86_400.0, gt=0, le=LONGEST_SECONDS)
    """Rolling window in which usage counts; with ``contract = true`` there is none."""
    contract: bool = False
    """Count the usage of the whole contract instead of a rolling window."""
    max_pending_jobs: Unsettable[Count] = None
    """Unfinished jobs that an instance may have at a time; ``"none"`` means any number."""


class InstanceSettings(Section):
    """``[[instances]]``: an instance on a plan; any figure of the plan may be overridden."""

    name: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$")
    """Name of the instance."""
    plan: str = "premium"
    """Name of its plan."""
    account: str = Field("default", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Account that the instance belongs to: the upper level of fair share."""
    tags: tuple[str, ...] = ()
    """Tags that resource search shows."""
    region: Literal["us-east", "eu-de"] = "us-east"
    """Region in the instance's CRN."""
    qpus: tuple[str, ...] | None = None
    """QPUs that the instance may use; unset means all."""
    sessions: bool | None = None
    """Overrides the plan's figure."""
    max_ttl_seconds: float | None = Field(None, ge=1, le=LONGEST_SECONDS)
    """Overrides the plan's figure."""
    interactive_ttl_seconds: float | None = Field(None, ge=0, le=LONGEST_SECONDS)
    """Overrides the plan's figure."""
    batch_interactive_ttl_seconds: float | None = Field(None, ge=0, le=LONGEST_SECONDS)
    """Overrides the plan's figure."""
    max_execution_seconds: float | None = Field(None, gt=0, le=LONGEST_SECONDS)
    """Overrides the plan's figure."""
    allocation_seconds: Unsettable[Amount] = None
    """Overrides the plan's figure."""
    virtual_allocation_seconds: Unsettable[Amount] = None
    """Overrides the plan's figure."""
    limit_seconds: Unsettable[Amount] = None
    """Overrides the plan's figure."""
    limit_stops_running: bool | None = None
    """Overrides the plan's figure."""
    window_seconds: float | None = Field(None, gt=0, le=LONGEST_SECONDS)
    """Overrides the plan's figure."""
    contract: bool | None = None
    """Overrides the plan's figure."""
    max_pending_jobs: Unsettable[Count] = None
    """Overrides the plan's figure."""


class QpuSettings(Section):
    """``[[qpus]]``: a QPU of the centre."""

    name: str = Field(pattern=r"^[a-z0-9]+_[a-z0-9_]+$", max_length=80)
    """Name of the backend, ``<site>_<device>``."""
    driver: str = "emulator"
    """Driver: an entry point of the group ``ketline.qpus``."""
    device: str = "fez"
    """Device snapshot for the emulator (``fez``, ``manila``, …), or the driver's own notion of one."""
    lanes: int = Field(5, ge=1, le=64)
    """Jobs that may be prepared, run and finalized at a time."""
    pace: float = Field(0.0, ge=0, le=1_000)
    """0 runs as fast as it can, 1 takes as long as the real device, values between scale."""
    seed: int | None = Field(None, ge=0)
    """Seed of the emulator's randomness; unset means fresh randomness."""
    simulator: bool = False
    """Serve it as an ideal simulator without a queue."""
    memory_bytes: int = Field(8_000_000_000, ge=200_000_000)
    """Memory that one job may take on the emulator."""
    job_overhead_seconds: float = Field(0.0, ge=0, le=3_600)
    """Usage billed on top to a job that held the QPU and then failed by its user's fault or was cancelled."""
    calibration_interval_seconds: float | None = Field(None, gt=0)
    """Cadence of calibrations; unset means never by itself."""
    calibration_seconds: float = Field(5.0, ge=0)
    """How long a calibration takes."""
    health_interval_seconds: float = Field(30.0, ge=0.1, le=86_400)
    """How often the QPU is asked whether it is well; one that isn't is paused until it is."""
    drift: float = Field(0.0, ge=0, le=10)
    """Share by which an emulator's figures drift within a day of a calibration; 0 turns it off."""


DEFAULT_PLANS: dict[str, PlanSettings] = {
    "open": PlanSettings(
        display_name="Open", pricing_type="free", sessions=False, max_ttl_seconds=600, limit_seconds=600,
        allocation_seconds=600, max_pending_jobs=3,
    ),
    "pay-as-you-go": PlanSettings(
        display_name="Pay-As-You-Go", pricing_type="paygo", limit_stops_running=True, contract=True
    ),
    "flex": PlanSettings(
        display_name="Flex", pricing_type="subscription", contract=True, allocation_seconds=24_000
    ),
    "premium": PlanSettings(display_name="Premium", pricing_type="subscription"),
    "on-prem": PlanSettings(display_name="On-Prem", pricing_type="subscription", contract=True),
}  # fmt: skip


class AccountSettings(Section):
    """``[accounts.<name>]``: an account, the upper level of fair share, which holds instances."""

    allocation_seconds: float = Field(gt=0)
    """Weight among accounts: seconds per window."""


class RateSettings(Section):
    """``[[money.rates]]``: the price of a second of usage. The rate that names most counts."""

    plan: str = "*"
    """Plan that the rate is for; ``*`` means any."""
    qpu: str = "*"
    """QPU that the rate is for; ``*`` means any. A rate for a plan goes before one for a QPU."""
    per_second: float = Field(ge=0)
    """Price of a second of usage."""


class MoneySettings(Section):
    """``[money]``: what usage costs. Without it nothing speaks of money."""

    currency: str = Field(pattern=r"^[A-Za-z]{1,12}$")
    """Name of the currency, as it is shown."""
    rates: tuple[RateSettings, ...] = Field(min_length=1)
    """Prices of a second of usage."""


class Centre(BaseModel):
    """The whole configuration, as a file holds it."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    server: ServerSettings = ServerSettings()
    """Where and how requests are answered."""
    store: StoreSettings = StoreSettings()
    """Where what must survive is kept."""
    compute: ComputeSettings = ComputeSettings()
    """Worker processes for classical work."""
    plans: dict[str, PlanSettings] = Field(default_factory=dict)
    """Plans of the site. A table named like a built-in plan changes only the figures it gives."""
    accounts: dict[str, AccountSettings] = Field(default_factory=dict)
    """Accounts with an allocation of their own. Others weigh as much as their instances together."""
    instances: tuple[InstanceSettings, ...] = ()
    """Instances that exist from the start, besides ``default`` and ``open`` of the first start."""
    qpus: tuple[QpuSettings, ...] = Field(
        (
            QpuSettings(name="ket_fez", device="fez"),
            QpuSettings(name="ket_manila", device="manila"),
            QpuSettings(name="ket_simulator", device="fez", simulator=True),
        ),
        min_length=1,
    )
    """The QPUs. Unset means one of 156 qubits, one of 5 qubits and a simulator without a queue."""
    money: MoneySettings | None = None
    """What usage costs; unset means that nothing speaks of money."""

    def all_plans(self) -> dict[str, PlanSettings]:
        """The built-in plans with the site's changes, and the site's own plans."""
        plans = dict(DEFAULT_PLANS)
        for name, given in self.plans.items():
            built_in = DEFAULT_PLANS.get(name)
            plans[name] = (
                given
                if built_in is None
                else built_in.model_copy(update=given.model_dump(exclude_unset=True))
            )
        return plans

    def figures_of(self, instance: InstanceSettings) -> PlanSettings:
        """The figures of an instance: its plan's, with the instance's own overriding them."""
        own = {
            figure: getattr(instance, figure)
            for figure in PLAN_FIGURES
            if figure in instance.model_fields_set
        }
        return self.all_plans()[instance.plan].model_copy(update=own)


class Settings(Centre, BaseSettings):
    """The whole configuration, with the environment winning over the file."""

    model_config = SettingsConfigDict(
        extra="forbid",
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_DELIMITER,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file."""
        return env_settings, init_settings


PLAN_FIGURES = tuple(name for name in PlanSettings.model_fields if name in InstanceSettings.model_fields)
"""The figures of a plan that an instance may override."""


def load(path: Path | None = None) -> Settings:
    """Read the settings of a file and of the environment.

    Raises `ConfigError` with one line for each problem: file or variable, key and what is allowed.
    """
    from ketline import config_problems

    given = _read(path) if path is not None else {}
    source = str(path) if path is not None else "defaults"
    problems = config_problems.of_environment(os.environ)
    if problems:
        raise ConfigError("\n".join(problems))
    try:
        # The file says what it means: no "8000" for 8000, no true for 1. The environment holds only strings.
        Centre.model_validate_json(json.dumps(given, default=str), strict=True)
        settings = Settings(**given)
    except ValidationError as error:
        raise ConfigError("\n".join(config_problems.of_validation(error, given, source))) from error
    problems = config_problems.of_meaning(settings, source)
    if problems:
        raise ConfigError("\n".join(problems))
    return settings


def instance_settings(given: dict[str, Any], settings: Settings) -> InstanceSettings:
    """One instance from texts, as the command line and requests give them; checked like one of a file.

    Raises `ConfigError` with one line for each problem.
    """
    from ketline import config_problems

    try:
        instance = InstanceSettings.model_validate(given)
    except ValidationError as error:
        problems = config_problems.of_validation(error, {}, "instance", table=InstanceSettings)
        raise ConfigError("\n".join(problems)) from error
    problems = config_problems.of_instance(instance, "", settings)
    if problems:
        raise ConfigError("\n".join(f"instance{problem}" for problem in problems))
    return instance


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
