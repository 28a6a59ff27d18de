"""Base64 and zlib under a budget that all parts of one payload share."""

from __future__ import annotations

import binascii
import zlib

from ketline.errors import LIMIT_EXCEEDED
from ketline.programs.failures import unreadable
from ketline.units.errors import JobError

_STEP = 1 << 20


class Budget:
    """How many bytes the compressed parts of one payload may still grow to."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.left = max_bytes

    def plain(self, text: object, field: str) -> bytes:
        """Decode base64.

        Raises:
            JobError: it isn't base64 text.
        """
        if not isinstance(text, str):
            raise unreadable(field, f"{type(text).__name__} instead of base64 text.")
        try:
            raw = binascii.a2b_base64(text, strict_mode=True)
        except (binascii.Error, ValueError) as error:
            raise unreadable(field, f"not base64: {error}.") from None
        self._take(len(raw), field)
        return raw

    def inflate(self, text: object, field: str) -> bytes:
        """Decode base64 and zlib, a megabyte at a time, never beyond what is left.

        Raises:
            JobError: not base64, not zlib, cut short, followed by more, or grown beyond the limit.
        """
        packed = self.plain(text, field)
        machine = zlib.decompressobj()
        grown = bytearray()
        try:
            while not machine.eof:
                part = machine.decompress(packed, _STEP)
                packed = machine.unconsumed_tail
                self._take(len(part), field)
                grown += part
                if not part and not packed and not machine.eof:
                    raise unreadable(field, "the compressed data is cut short.")
        except zlib.error as error:
            raise unreadable(field, f"not zlib: {error}.") from None
        if machine.unused_data:
            raise unreadable(field, "bytes follow the compressed data.")
        return bytes(grown)

    def _take(self, count: int, field: str) -> None:
        self.left -= count
        if self.left < 0:
            raise JobError(
                LIMIT_EXCEEDED.code,
                f"{field}: the payload grows beyond {self.max_bytes:,} bytes when unpacked.",
                "Split the job, or ask the operator to raise compute.max_decompressed_bytes.",
            )
