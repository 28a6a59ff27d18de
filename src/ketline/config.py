"""Every setting, once: defaults < ``ketline.toml`` < environment (``KETLINE_SERVER__PORT=8000``, …).

The reference page is made from the descriptions here.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict


class ConfigError(Exception):
    """A configuration file can't be used; the message names file, key and what is allowed."""


class Section(BaseModel):
    """A table of the configuration; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ServerSettings(Section):
    """``[server]``: where and how requests are answered."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(8000, ge=0, le=65_535)
    """Port to listen on; 0 takes a free one."""
    public_url: str | None = None
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
    max_ttl_seconds: float = Field(28_800.0, ge=1)
    """Default and maximum life of a session or batch."""
    interactive_ttl_seconds: float = Field(60.0, ge=0)
    """Idle time after which an active session becomes inactive."""
    batch_interactive_ttl_seconds: float = Field(1.0, ge=0)
    """Idle time after which an active batch becomes inactive."""
    max_execution_seconds: float = Field(10_800.0, gt=0)
    """Largest QPU usage of one job."""
    allocation_seconds: float | None = Field(None, gt=0)
    """Weight in fair share: seconds per window; unset means the virtual allocation."""
    virtual_allocation_seconds: float = Field(28_800.0, gt=0)
    """Weight of an instance without an allocation."""
    limit_seconds: float | None = Field(None, gt=0)
    """Usage at which pending work is held; unset means no limit."""
    limit_stops_running: bool = False
    """Whether the limit is a cost limit, which also stops what runs."""
    window_seconds: float | None = Field(28 * 86_400.0, gt=0)
    """Rolling window in which usage counts; ``0`` isn't allowed, use ``contract = true`` for no window."""
    contract: bool = False
    """Count the usage of the whole contract instead of a rolling window."""
    max_pending_jobs: int | None = Field(None, ge=1)
    """Unfinished jobs that an instance may have at a time."""


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
    max_ttl_seconds: float | None = Field(None, ge=1)
    """Overrides the plan's figure."""
    interactive_ttl_seconds: float | None = Field(None, ge=0)
    """Overrides the plan's figure."""
    batch_interactive_ttl_seconds: float | None = Field(None, ge=0)
    """Overrides the plan's figure."""
    max_execution_seconds: float | None = Field(None, gt=0)
    """Overrides the plan's figure."""
    allocation_seconds: float | None = Field(None, gt=0)
    """Overrides the plan's figure."""
    limit_seconds: float | None = Field(None, gt=0)
    """Overrides the plan's figure."""
    max_pending_jobs: int | None = Field(None, ge=1)
    """Overrides the plan's figure."""


class QpuSettings(Section):
    """``[[qpus]]``: a QPU of the centre."""

    name: str = Field(pattern=r"^[a-z0-9]+_[a-z0-9_]+$")
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
    calibration_interval_seconds: float | None = Field(None, gt=0)
    """Cadence of calibrations; unset means never by itself."""
    calibration_seconds: float = Field(5.0, ge=0)
    """How long a calibration takes."""


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


class Settings(BaseSettings):
    """The whole configuration."""

    model_config = SettingsConfigDict(
        extra="forbid", env_prefix="KETLINE_", env_nested_delimiter="__", use_attribute_docstrings=True
    )

    server: ServerSettings = ServerSettings()
    store: StoreSettings = StoreSettings()
    compute: ComputeSettings = ComputeSettings()
    plans: dict[str, PlanSettings] = Field(default_factory=dict)
    instances: tuple[InstanceSettings, ...] = ()
    qpus: tuple[QpuSettings, ...] = (
        QpuSettings(name="ket_fez", device="fez"),
        QpuSettings(name="ket_manila", device="manila"),
        QpuSettings(name="ket_simulator", device="fez", simulator=True),
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

    def all_plans(self) -> dict[str, PlanSettings]:
        """The built-in plans, replaced or extended by the site's own."""
        return {**DEFAULT_PLANS, **self.plans}


def load(path: Path | None = None) -> Settings:
    """Read the settings; a wrong file is refused with its name, the key and what is allowed."""
    given: dict[str, Any] = {}
    if path is not None:
        try:
            given = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not TOML: {error}") from error
    try:
        return Settings(**given)
    except ValidationError as error:
        lines = [
            f"{path or 'environment'}: {'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}"
            for e in error.errors()
        ]
        raise ConfigError("\n".join(lines)) from error
