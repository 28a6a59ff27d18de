"""The server's log: strings of users stay inside of their entry."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from ketline.logs import LONGEST_LINE, LineFormatter

FORGED = "2026-01-01 00:00:00,000 ERROR ketline.service: everything is deleted"


@pytest.fixture
def written() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    log, text = logging.getLogger("tests.logs"), io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(LineFormatter())
    log.addHandler(handler)
    log.propagate = False
    yield log, text
    log.removeHandler(handler)
    log.propagate = True


def test_nothing_that_a_user_writes_begins_an_entry(written: tuple[logging.Logger, io.StringIO]) -> None:
    log, text = written
    posted = f"name\n{FORGED}\r{FORGED}\x1b[2J\u2028{FORGED}\u202ereversed\x00\x9b1m"
    log.error("GET /%s failed", posted)
    try:
        raise ValueError(posted)
    except ValueError:
        log.exception("job %s: preparing", posted)
    lines = text.getvalue().split("\n")
    entries = [line for line in lines if line and not line.startswith("  | ")]
    assert len(entries) == 2
    assert all("tests.logs: " in entry for entry in entries)
    escaped = FORGED + "\\r" + FORGED + "\\x1b[2J\\u2028" + FORGED + "\\u202ereversed\\x00\\x9b1m"
    assert lines[1] == f"  | {escaped} failed"
    assert not any(character < " " for line in lines for character in line)
    assert any("ValueError: name" in line for line in lines)


def test_keys_and_tokens_are_left_out(written: tuple[logging.Logger, io.StringIO]) -> None:
    log, text = written
    key = "ketline-6wacus2fcfcd5zqh-GNp1q80WHaieCpMwQd7Iis43M0VWQutOSdpbTtv_01k"
    log.error("key %s, Authorization: Bearer eyJhbGciOi.eyJzdWIi.c2lnbg, apikey %s", key, key)
    assert "ketline-6wacus2fcfcd5zqh-[redacted]" in text.getvalue()
    assert "Bearer [redacted]" in text.getvalue()
    assert "GNp1q80" not in text.getvalue()
    assert "c2lnbg" not in text.getvalue()


def test_long_strings_are_cut(written: tuple[logging.Logger, io.StringIO]) -> None:
    log, text = written
    log.error("%s", "x" * 1_000_000)
    assert len(text.getvalue()) < LONGEST_LINE + 100
    assert "characters)" in text.getvalue()
