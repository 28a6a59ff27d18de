"""The reference pages, made from the code: ``python -m ketline.cli.reference docs/reference``."""

from __future__ import annotations

from ketline.cli.reference.endpoints import page as endpoints_page
from ketline.cli.reference.errors import page as errors_page
from ketline.cli.reference.planning import page as planning_page
from ketline.cli.reference.settings import page as settings_page
from ketline.cli.reference.states import page as states_page
from ketline.cli.reference.verbs import page as verbs_page

PAGES = {
    "settings.md": settings_page,
    "cli.md": verbs_page,
    "endpoints.md": endpoints_page,
    "errors.md": errors_page,
    "states.md": states_page,
    "planning.md": planning_page,
}
"""File name and what makes its text."""
