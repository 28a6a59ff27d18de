"""Base64 and zlib under a budget that all parts of one payload share."""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Iterable, Iterator

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
        raw = _decoded(_text(text, field), field)
        self.take(len(raw), field)
        return raw

    def inflate(self, text: object, field: str) -> bytearray:
        """Decode base64 and zlib, as `pieces` does, as a whole.

        No more is held at any time than the text, what came of it, and a piece of both.
        """
        grown = bytearray()
        for part in self.pieces(text, field):
            grown += part
        return grown

    def pieces(self, text: object, field: str, *, compressed: bool = True) -> Iterator[bytes]:
        """Decode base64, and zlib inside of it, piece by piece and never beyond what is left.

        Raises:
            JobError: not base64, not zlib, cut short, followed by more, or grown beyond the limit.
        """
        packed = self._packed(_text(text, field), field)
        return self._inflated(packed, field) if compressed else packed

    def _packed(self, whole: str, field: str) -> Iterator[bytes]:
        for start in range(0, len(whole), _STEP):
            part = _decoded(whole[start : start + _STEP], field, last=start + _STEP >= len(whole))
            self.take(len(part), field)
            yield part

    def _inflated(self, pieces: Iterable[bytes], field: str) -> Iterator[bytes]:
        machine = zlib.decompressobj()
        try:
            for packed in pieces:
                while packed and not machine.eof:
                    part = machine.decompress(packed, _STEP)
                    packed = machine.unconsumed_tail
                    self.take(len(part), field)
                    yield part
                if machine.unused_data or (machine.eof and packed):
                    raise unreadable(field, "bytes follow the compressed data.")
            while not machine.eof:
                part = machine.decompress(b"", _STEP)
                if not part:
                    raise unreadable(field, "the compressed data is cut short.")
                self.take(len(part), field)
                yield part
        except zlib.error as error:
            raise unreadable(field, f"not zlib: {error}.") from None

    def take(self, count: int, field: str) -> None:
        """Count bytes against what is left.

        Raises:
            JobError: there are more than that.
        """
        self.left -= count
        if self.left < 0:
            raise JobError(
                LIMIT_EXCEEDED.code,
                f"{field}: the payload grows beyond {self.max_bytes:,} bytes when unpacked.",
                "Split the job, or ask the operator to raise compute.max_decompressed_bytes.",
            )


def _text(text: object, field: str) -> str:
    if not isinstance(text, str):
        raise unreadable(field, f"{type(text).__name__} instead of base64 text.")
    return text


def _decoded(text: str, field: str, *, last: bool = True) -> bytes:
    if not last and "=" in text:
        raise unreadable(field, "not base64: padding before the end.")
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise unreadable(field, f"not base64: {error}.") from None
