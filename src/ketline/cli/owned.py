"""A job, session or batch, asked of the running server inside the instance that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from ketline.cli.centre import Centre
from ketline.cli.remote import Method, Remote, quoted


class Noun(StrEnum):
    """What is asked about, with the path below which the server answers."""

    JOB = "/api/v1/jobs"
    SESSION = "/api/v1/sessions"
    JOB_OF_OURS = "/ketline/v1/jobs"


def ask(
    data: Path,
    config: Path | None,
    noun: Noun,
    identity: str,
    method: Method,
    suffix: str = "",
    body: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What the server answers.

    Raises:
        Refusal: no server is running, or it refuses.
        KetlineError: nothing of this id is written down in the folder.
    """
    with Centre(data, config) as centre:
        row = centre.session(identity) if noun is Noun.SESSION else centre.job(identity)
    remote = Remote.of(data)
    crn = remote.instances()[row["instance"]]
    return remote.ask(method, f"{noun.value}/{quoted(identity)}{suffix}", body=body, crn=crn)
