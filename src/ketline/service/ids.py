"""Ids: of jobs in the field's form (20 characters, sortable by time), of the rest as UUIDs."""

from __future__ import annotations

import itertools
import secrets
import uuid

_DIGITS = "0123456789abcdefghijklmnopqrstuv"
_COUNTER_BITS = 24
_LENGTH = 20

_NAMESPACE = uuid.UUID("5b5d25f4-3a0c-5c55-9d3b-6f9d8a1c7e10")


class JobIds:
    """Makes job ids: 4 bytes of time, 5 of this process, 3 of a counter, in base 32 (``rest.md`` B.2)."""

    def __init__(self) -> None:
        self._process = secrets.randbits(40)
        self._counter = itertools.count(secrets.randbits(_COUNTER_BITS - 1))

    def make(self, now: float) -> str:
        """The next id."""
        number = (int(now) & 0xFFFFFFFF) << 64 | self._process << _COUNTER_BITS
        number |= next(self._counter) & (1 << _COUNTER_BITS) - 1
        # 96 bits are 20 digits of 5 bits, the last of which has 1 bit of content.
        number <<= 4
        return "".join(_DIGITS[number >> shift & 31] for shift in range(95, -1, -5))

    @staticmethod
    def made_at(job_id: str) -> int | None:
        """The second in which an id was made; None for what isn't one."""
        if len(job_id) != _LENGTH or any(digit not in _DIGITS for digit in job_id):
            return None
        return int(job_id[:7], 32) >> 3


def workload_id() -> str:
    """An id for a session or a batch."""
    return str(uuid.uuid4())


def named(kind: str, name: str) -> uuid.UUID:
    """The same UUID whenever it is asked for the same thing."""
    return uuid.uuid5(_NAMESPACE, f"{kind}:{name}")


def crn(region: str, account: str, instance_id: str) -> str:
    """The name of an instance on the wire (``rest.md`` A.2)."""
    return (
        f"crn:v1:bluemix:public:quantum-computing:{region}:a/{named('account', account).hex}:{instance_id}::"
    )
