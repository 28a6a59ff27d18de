"""What is true in every child from its first moment."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from qiskit.circuit import Parameter

from ketline.compute import entry


@contextmanager
def forked(target: str) -> Iterator[multiprocessing.connection.Connection]:
    """A child that starts as those of the fork server do."""
    ours, theirs = multiprocessing.Pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 1
        try:
            entry.run(theirs, target, "{}", 0)
            status = 0
        finally:
            os._exit(status)
    theirs.close()
    try:
        yield ours
    finally:
        os.waitpid(child, 0)


def test_children_draw_other_numbers_than_each_other_and_their_parent() -> None:
    Parameter("the parent has drawn before")
    drawn = []
    for _ in range(2):
        with forked("compute_doubles:name_a_parameter") as connection:
            drawn.append(connection.recv())
    (one, first), (other, second) = drawn
    assert len({one, other, str(Parameter("a").uuid)}) == 3
    assert first != second


def test_what_the_work_raises_ends_the_child() -> None:
    with forked("compute_doubles:no_such_function") as connection, pytest.raises(EOFError):
        connection.recv()
