"""What all tests share."""

from __future__ import annotations

import pytest

from ketline.compute import child
from ketline.service import tasks


@pytest.fixture(scope="session", autouse=True)
def _warm_parent() -> None:
    """Children are forked from one parent, which loads what a server's loads, whichever test is first."""
    child.preload(tasks.PRELOAD)
