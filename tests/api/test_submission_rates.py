"""The token bucket of submissions."""

import pytest

from ketline.api import rates
from ketline.errors import TOO_MANY_REQUESTS, KetlineError


def test_a_bucket_empties_and_fills_again(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(rates, "monotonic", lambda: now[0])
    rate = rates.SubmissionRate(3)
    for _ in range(3):
        rate.take("ada")
    with pytest.raises(KetlineError) as caught:
        rate.take("ada")
    assert caught.value.kind is TOO_MANY_REQUESTS
    assert caught.value.retry_after_seconds == pytest.approx(20)
    rate.take("bob")
    now[0] += 19.9
    with pytest.raises(KetlineError):
        rate.take("ada")
    now[0] += 0.2
    rate.take("ada")
    now[0] += 3_600
    for _ in range(3):
        rate.take("ada")
    with pytest.raises(KetlineError):
        rate.take("ada")


def test_no_limit_lets_everybody():
    rate = rates.SubmissionRate(None)
    for _ in range(1_000):
        rate.take("ada")
