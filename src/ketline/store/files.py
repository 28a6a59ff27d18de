"""Payloads, results and logs: files behind fsspec, a local folder by default.

A file is complete and durable when `Files.put` or `Files.adopt` returns. Small ones that arrive together
share one sync (`ketline.store.journal`); large ones are written beside their place, synced and renamed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import queue
import shutil
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import fsspec

from ketline.store.journal import Entry, Journal
from ketline.store.schema import StoreError

R = TypeVar("R")

PIECE_BYTES = 1 << 20
_LARGE_BYTES = 256 << 10


class FileKind(StrEnum):
    """What a file is; each kind has a folder of its own."""

    PAYLOAD = "payloads"
    RESULT = "results"
    LOG = "logs"


def place(kind: FileKind, identity: str) -> str:
    """Where a file lies below the root."""
    if not identity.replace("-", "").isalnum():
        raise ValueError(f"not an id: {identity!r}")
    return f"{kind.value}/{identity[-2:]}/{identity}"


Done = Callable[[BaseException | None], None]
_Wish = tuple[str, bytes | Path | None, Done]
"""Name below the root, what (bytes, a file to move there, or None to delete), and who is told."""


class _FolderWriter:
    """A thread that makes groups of local files durable: by the journal, or each one by itself."""

    def __init__(self, name: str, root: Path, journal: Journal | None) -> None:
        self._waiting: queue.SimpleQueue[_Wish | None] = queue.SimpleQueue()
        # Plain strings: this is done for every job, and paths are slow to make.
        self._root = str(root)
        self._journal = journal
        self._known: set[str] = set()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def write(self, name: str, content: bytes | Path | None, done: Done) -> None:
        """Write bytes, move a file here, or delete it; ``done`` is called in this thread."""
        self._waiting.put((name, content, done))

    def close(self) -> None:
        """Do what is waiting, then end."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while self._group():
            pass

    def _group(self) -> bool:
        """Do what is waiting; False when that was the last. Being a method, it keeps nothing it wrote."""
        group = [self._waiting.get()]
        while group[-1] is not None and len(group) < 256:
            try:
                group.append(self._waiting.get_nowait())
            except queue.Empty:
                break
        wishes = [wish for wish in group if wish is not None]
        if self._journal is None:
            for name, content, done in wishes:
                done(self._alone(name, content))
        elif wishes:
            self._together(wishes, self._journal)
        return group[-1] is not None

    def _alone(self, name: str, content: bytes | Path | None) -> OSError | None:
        try:
            target = self._place(name)
            _write_synced(Path(target), content)
            _sync(Path(target).parent)
        except OSError as error:
            return error
        return None

    def _together(self, wishes: list[_Wish], journal: Journal) -> None:
        entries: list[Entry] = []
        written: list[tuple[str, Done]] = []
        for name, content, done in wishes:
            try:
                target = self._place(name)
                whole = _write_unsynced(target, content)
            except OSError as error:
                done(error)
            else:
                entries.append((name, whole))
                written.append((target, done))
        failed: OSError | None = None
        try:
            journal.append(entries)
        except OSError as error:
            failed = error
        for target, done in written:
            if failed is not None:
                _unlink(target)
            done(failed)

    def _place(self, name: str) -> str:
        """The whole path of a file, in a folder that exists."""
        target = f"{self._root}/{name}"
        folder = target.rpartition("/")[0]
        if folder not in self._known:
            Path(folder).mkdir(parents=True, exist_ok=True)
            if self._journal is None:
                _sync(Path(folder).parent)
            self._known.add(folder)
        return target


def _write_unsynced(target: str, content: bytes | Path | None) -> bytes | None:
    """Write, move or delete a file, and return what it holds."""
    if content is None:
        _unlink(target)
        return None
    if isinstance(content, Path):
        whole = content.read_bytes()
        _move(content, target)
        return whole
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
    except OSError:
        _unlink(target)
        raise
    finally:
        os.close(fd)
    return content


def _unlink(target: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        Path(target).unlink()


def _write_synced(target: Path, content: bytes | Path | None) -> None:
    if content is None:
        target.unlink(missing_ok=True)
        return
    beside = target.with_name(target.name + ".part")
    try:
        if isinstance(content, Path):
            _move(content, beside)
        else:
            beside.write_bytes(content)
        _sync(beside)
        beside.rename(target)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _move(source: Path, target: Path | str) -> None:
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copyfile(source, target)
        source.unlink()


def _size(path: Path) -> int:
    return path.stat().st_size


def _sync(path: Path | str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Files:
    """Files by kind and id. ``url`` is any that fsspec knows; a plain path is a local folder."""

    def __init__(self, url: str) -> None:
        try:
            self._fs, root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise StoreError(f"store.payload_url: {url!r}: {error}") from error
        self._root = str(root).rstrip("/")
        protocol = self._fs.protocol if isinstance(self._fs.protocol, str) else self._fs.protocol[0]
        self._local = Path(self._root) if protocol in {"file", "local"} else None
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="ketline-files")
        self._small: _FolderWriter | None = None
        self._done: deque[tuple[asyncio.Future[None], BaseException | None]] = deque()
        self._telling = False
        if self._local is not None:
            self._local.mkdir(parents=True, exist_ok=True)
            # Large ones have a thread of their own, so that small ones needn't wait for them.
            self._journal = Journal(self._local)
            self._small = _FolderWriter("ketline-files", self._local, self._journal)
            self._large = _FolderWriter("ketline-large-files", self._local, None)

    def close(self) -> None:
        """Finish what is being written."""
        if self._small is not None:
            self._small.close()
            self._large.close()
            self._journal.close()
        self._threads.shutdown()

    def local_path(self, kind: FileKind, identity: str) -> Path | None:
        """Where the file is on this machine; None when it is elsewhere."""
        return self._local / place(kind, identity) if self._local is not None else None

    def _remote(self, kind: FileKind, identity: str) -> str:
        return f"{self._root}/{place(kind, identity)}"

    async def put(self, kind: FileKind, identity: str, content: bytes) -> None:
        """Write a file; it is durable on return.

        Raises:
            OSError: it can't be written (the disk is full, …); nothing is left of it.
        """
        if self._local is None:
            await self._in_thread(self._fs.pipe_file, self._remote(kind, identity), content)
        else:
            await self._write_local(place(kind, identity), content, len(content))

    async def adopt(self, kind: FileKind, identity: str, source: Path) -> int:
        """Move a complete local file here and return its size in bytes; it is durable on return."""
        size = _size(source)
        if self._local is None:
            await self._in_thread(self._fs.put_file, str(source), self._remote(kind, identity))
            await self._in_thread(source.unlink)
        else:
            await self._write_local(place(kind, identity), source, size)
        return size

    async def _write_local(self, name: str, content: bytes | Path | None, size: int) -> None:
        assert self._small is not None
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def done(error: BaseException | None) -> None:
            # In the writer's thread. Waking the loop costs more than what it is told, so once does for all
            # that have come together until it listens; `_tell` says so before it looks.
            self._done.append((future, error))
            if not self._telling:
                self._telling = True
                loop.call_soon_threadsafe(self._tell)

        (self._large if size > _LARGE_BYTES else self._small).write(name, content, done)
        await future

    def _tell(self) -> None:
        self._telling = False
        while self._done:
            future, error = self._done.popleft()
            if future.cancelled():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    async def fetch(self, kind: FileKind, identity: str, target: Path) -> None:
        """Copy a file to this machine."""
        await self._in_thread(self._fs.get_file, self._remote(kind, identity), str(target))

    async def read(self, kind: FileKind, identity: str) -> tuple[int, AsyncIterator[bytes]] | None:
        """Size and pieces of a file; None when there is none. It may be dropped while it is being read."""
        opened = await self._in_thread(self._open, kind, identity)
        if opened is None:
            return None
        file, size, first = opened
        return size, self._pieces(file, first, size)

    def _open(self, kind: FileKind, identity: str) -> tuple[Any, int, bytes] | None:
        try:
            if self._local is not None:
                path = self._local / place(kind, identity)
                file: Any = path.open("rb")
                size = os.fstat(file.fileno()).st_size
            else:
                name = self._remote(kind, identity)
                size = int(self._fs.size(name))
                file = self._fs.open(name, "rb")
        except FileNotFoundError:
            return None
        first = file.read(PIECE_BYTES)
        if len(first) >= size:
            file.close()
        return file, size, first

    async def _pieces(self, file: Any, first: bytes, size: int) -> AsyncIterator[bytes]:
        try:
            yield first
            left = size - len(first)
            while left > 0:
                piece = await self._in_thread(file.read, min(PIECE_BYTES, left))
                if not piece:
                    raise OSError(errno.EIO, "a stored file is shorter than it was", str(file))
                left -= len(piece)
                yield piece
        finally:
            file.close()

    async def drop(self, kind: FileKind, identity: str) -> None:
        """Delete a file; nothing happens if there is none."""
        if self._local is None:
            with contextlib.suppress(FileNotFoundError):
                await self._in_thread(self._fs.rm_file, self._remote(kind, identity))
        else:
            await self._write_local(place(kind, identity), None, 0)

    def stored(self, kind: FileKind) -> Iterator[list[str]]:
        """The names of the files of a kind, some at a time; unfinished ones (``.part``) too."""
        if self._local is None:
            root = f"{self._root}/{kind.value}"
            with contextlib.suppress(FileNotFoundError):
                yield [str(path).rpartition("/")[2] for path in self._fs.find(root)]
            return
        top = self._local / kind.value
        for folder in sorted(top.iterdir()) if top.is_dir() else ():
            yield [entry.name for entry in folder.iterdir()]

    async def discard(self, kind: FileKind, name: str) -> None:
        """Delete a file by a name that `stored` gave; nothing happens if it is gone."""
        if not name.endswith(".part"):
            await self.drop(kind, name)
        elif self._local is not None:
            identity = name.removesuffix(".part")
            path = self._local / f"{place(kind, identity)}.part"
            await self._in_thread(lambda: path.unlink(missing_ok=True))

    async def _in_thread(self, work: Callable[..., R], *args: object) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)
