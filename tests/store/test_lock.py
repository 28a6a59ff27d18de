"""One folder, one server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ketline.store.lock import FolderLock, FolderTaken


def test_a_second_server_is_refused_with_the_first_ones_process(tmp_path: Path) -> None:
    message = rf"process {os.getpid()}.*--data"
    with FolderLock(tmp_path / "data"), pytest.raises(FolderTaken, match=message):
        FolderLock(tmp_path / "data")
    FolderLock(tmp_path / "data").release()
