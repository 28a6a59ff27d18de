"""The data folder: what lies where in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ketline.config import Settings


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Paths inside a server's folder, and the URLs of what may lie elsewhere."""

    root: Path

    def database_url(self, settings: Settings) -> str:
        """Where the tables are."""
        return settings.store.database_url or f"sqlite:///{self.root / 'ketline.db'}"

    def files_url(self, settings: Settings) -> str:
        """Where payloads, results and logs are."""
        return settings.store.payload_url or str(self.root / "files")

    @property
    def administrator_key(self) -> Path:
        """The administrator's first key in plain text, for `ketline env`; readable by the owner alone."""
        return self.root / "administrator.key"

    @property
    def scratch(self) -> Path:
        """Work in progress: units, outcomes, states. Emptied at every start."""
        return self.root / "scratch"

    @property
    def qpus(self) -> Path:
        """The devices as they were last published."""
        return self.root / "qpus"
