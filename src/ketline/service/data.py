"""The data folder: what lies where in it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from ketline.config import Settings


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Paths inside a server's folder, and the URLs of what may lie elsewhere."""

    root: Path

    def keep_private(self, settings: Settings) -> None:
        """Make the folder, and keep other users of the machine out of what is in it.

        The database holds the secret that signs tokens, and the files are everybody's circuits and results.
        What an administrator opened for a group on purpose is the folder itself; that stays as it is.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not settings.store.database_url:
            self.database_path.touch(mode=0o600)
        for file in self.root.glob(f"{self.database_path.name}*"):
            _close(file, 0o600)
        for folder in (self.files_folder, self.scratch, self.qpus):
            folder.mkdir(mode=0o700, exist_ok=True)
            _close(folder, 0o700)

    @property
    def database_path(self) -> Path:
        """The tables, unless the settings put them elsewhere."""
        return self.root / "ketline.db"

    @property
    def files_folder(self) -> Path:
        """Payloads, results and logs, unless the settings put them elsewhere."""
        return self.root / "files"

    def database_url(self, settings: Settings) -> str:
        """Where the tables are."""
        return settings.store.database_url or f"sqlite:///{self.database_path}"

    def files_url(self, settings: Settings) -> str:
        """Where payloads, results and logs are."""
        return settings.store.payload_url or str(self.files_folder)

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


def _close(path: Path, mode: int) -> None:
    # Only the owner may change it; whoever else works in the folder was let in by them.
    with contextlib.suppress(PermissionError):
        path.chmod(mode)
