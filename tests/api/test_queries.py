"""What a query string may hold."""

from datetime import UTC, datetime

import pytest

from ketline.api.asked import Query
from ketline.errors import KetlineError


def test_values_are_typed():
    query = Query(b"n=3&f=True&g=false&t=a&t=b&at=2026-01-02T03:04:05%2B02:00&plain=2026-01-02", tuple_of())
    assert query.integer("n") == 3
    assert (query.flag("f"), query.flag("g"), query.flag("h")) == (True, False, None)
    assert query.many("t") == ("a", "b")
    assert query.moment("at") == datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)
    assert query.moment("plain") == datetime(2026, 1, 2, tzinfo=UTC)


def tuple_of():
    return ("n", "f", "g", "h", "t", "at", "plain")


def test_a_plus_sign_that_was_not_encoded_is_understood():
    at = Query(b"at=2026-01-02T03:04:05+00:00", ("at",)).moment("at")
    assert at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (b"other=1", lambda q: None),
        (b"n=%ff", lambda q: None),
        (b"n=a%00", lambda q: None),
        (b"n=x", lambda q: q.integer("n")),
        (b"n=99999999999999999999", lambda q: q.integer("n")),
        (b"n=1&n=2", lambda q: q.integer("n")),
        (b"n=maybe", lambda q: q.flag("n")),
        (b"n=yesterday", lambda q: q.moment("n")),
        (b"n=0001-01-01T00:00:00%2B23:00", lambda q: q.moment("n")),
        (b"n=x", lambda q: q.one_of("n", ("a", "b"))),
    ],
)
def test_what_cannot_be_used_is_refused(text, read):
    with pytest.raises(KetlineError):
        read(Query(text, ("n",)))
