"""How a program or a driver says that a job can't be done."""

from __future__ import annotations


class JobError(Exception):
    """The job's own fault. ``code`` is one of `ketline.errors`; the message names field and value."""

    def __init__(self, code: int, message: str, solution: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.solution = solution
