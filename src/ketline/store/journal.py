"""A journal of small files: one sync makes a whole group of them durable.

A file of a few kilobytes costs a sync of its own when it is to survive a power cut, and one more for its
folder. So small files are written without a sync, and their content is appended to a journal which is synced
once for all that arrived together. When the journal is full, another is begun; the full one is deleted as
soon as the file system as a whole is synced. At start, what the journals hold and the folders don't is
written again.
"""

from __future__ import annotations

import ctypes
import logging
import os
import struct
import sys
import threading
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

_log = logging.getLogger(__name__)

FULL_BYTES = 16 << 20
_HEADER = struct.Struct("<4sIIq")
_MAGIC = b"KTLJ"
_DROPPED = -1

Entry = tuple[str, bytes | None]
"""A file's name below the folder, and its content; None: it was deleted."""


class Journal:
    """The journal of one folder. ``append`` belongs to one thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._at = folder / "journal"
        self._at.mkdir(parents=True, exist_ok=True)
        left = sorted(self._at.iterdir())
        self._number = int(left[-1].name) + 1 if left else 1
        self._replay(left)
        self._checkpoint: threading.Thread | None = None
        self._begin()

    def append(self, entries: Sequence[Entry]) -> None:
        """Make the entries durable.

        Raises:
            OSError: they can't be written; none of them is in the journal then.
        """
        parts = []
        for name, content in entries:
            label = name.encode()
            size = _DROPPED if content is None else len(content)
            parts += [
                _HEADER.pack(_MAGIC, _sum(label, content or b""), len(label), size),
                label,
                content or b"",
            ]
        data = b"".join(parts)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
            os.fdatasync(self._fd)
        except OSError:
            os.ftruncate(self._fd, self._size)
            raise
        self._size += len(data)
        if self._size > FULL_BYTES and (self._checkpoint is None or not self._checkpoint.is_alive()):
            self._turn()

    def close(self) -> None:
        """Sync the files themselves; the journal is empty then."""
        if self._checkpoint is not None:
            self._checkpoint.join()
        os.close(self._fd)
        self._forget(self._path)

    def _begin(self) -> None:
        self._path = self._at / f"{self._number:010d}"
        self._number += 1
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(self._path, flags, 0o600)
        self._size = 0
        _sync_folder(self._at)

    def _turn(self) -> None:
        full, full_fd = self._path, self._fd
        self._begin()
        os.close(full_fd)
        self._checkpoint = threading.Thread(target=self._try_to_forget, args=(full,), name="ketline-journal")
        self._checkpoint.start()

    def _try_to_forget(self, full: Path) -> None:
        try:
            self._forget(full)
        except OSError:
            # It stays, and its content is looked at again at the next start.
            _log.exception("%s: the files in it can't be synced", full)

    def _forget(self, full: Path) -> None:
        _sync_file_system(self._folder)
        full.unlink()

    def _replay(self, journals: Sequence[Path]) -> None:
        """Write what the journals hold and the folder doesn't."""
        if not journals:
            return
        last: dict[str, bytes | None] = {}
        for path in journals:
            last.update(_entries(path.read_bytes()))
        for name, content in last.items():
            target = self._folder / name
            if content is None:
                target.unlink(missing_ok=True)
            elif not target.exists() or target.read_bytes() != content:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        _sync_file_system(self._folder)
        for path in journals:
            path.unlink()


def _entries(data: bytes) -> Iterator[Entry]:
    """The entries that are complete; what a crash cut off was never acknowledged."""
    at = 0
    while at + _HEADER.size <= len(data):
        magic, checksum, label_size, size = _HEADER.unpack_from(data, at)
        at += _HEADER.size
        end = at + label_size + max(size, 0)
        if magic != _MAGIC or end > len(data):
            return
        label, content = data[at : at + label_size], data[at + label_size : end]
        if _sum(label, content) != checksum:
            return
        at = end
        yield label.decode(), None if size == _DROPPED else content


def _sum(label: bytes, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(label))


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync_file_system(folder: Path) -> None:
    """Sync all that was ever written to the folder's file system."""
    if sys.platform != "linux":
        os.sync()
        return
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(fd)
