"""What the tests of the planner share."""

from __future__ import annotations

import pytest
from planning_shell import Shell


@pytest.fixture
def ketline(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)
