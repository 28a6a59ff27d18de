"""Payload and result files: durable, whole, and gone when they are dropped."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from ketline.store import journal as journal_module
from ketline.store.files import FileKind, Files
from ketline.store.journal import Journal
from ketline.store.schema import StoreError


async def whole(files: Files, kind: FileKind, identity: str) -> bytes | None:
    found = await files.read(kind, identity)
    if found is None:
        return None
    size, pieces = found
    content = b"".join([piece async for piece in pieces])
    assert len(content) == size
    return content


@pytest.mark.parametrize("size", [0, 10, 300_000, 5_000_000])
def test_put_and_read(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)

    async def use() -> None:
        files = Files(str(tmp_path / "files"))
        await files.put(FileKind.PAYLOAD, "abc", content)
        assert await whole(files, FileKind.PAYLOAD, "abc") == content
        assert await whole(files, FileKind.RESULT, "abc") is None
        await files.drop(FileKind.PAYLOAD, "abc")
        await files.drop(FileKind.PAYLOAD, "abc")
        assert await whole(files, FileKind.PAYLOAD, "abc") is None
        files.close()

    asyncio.run(use())


@pytest.mark.parametrize("size", [10, 5_000_000])
def test_adopt_moves_a_file(tmp_path: Path, size: int) -> None:
    source = tmp_path / "made"
    source.write_bytes(b"r" * size)

    async def use() -> None:
        files = Files(str(tmp_path / "files"))
        assert await files.adopt(FileKind.RESULT, "abc", source) == size
        assert not source.exists()
        assert await whole(files, FileKind.RESULT, "abc") == b"r" * size
        local = files.local_path(FileKind.RESULT, "abc")
        assert local is not None
        assert local.read_bytes() == b"r" * size
        files.close()

    asyncio.run(use())


def test_files_elsewhere_through_fsspec(tmp_path: Path) -> None:
    source = tmp_path / "made"
    source.write_bytes(b"result")

    async def use() -> None:
        files = Files("memory://ketline-test")
        assert files.local_path(FileKind.PAYLOAD, "abc") is None
        await files.put(FileKind.PAYLOAD, "abc", b"payload")
        await files.fetch(FileKind.PAYLOAD, "abc", tmp_path / "fetched")
        assert (tmp_path / "fetched").read_bytes() == b"payload"
        assert await files.adopt(FileKind.RESULT, "abc", source) == 6
        assert await whole(files, FileKind.RESULT, "abc") == b"result"
        await files.drop(FileKind.RESULT, "abc")
        await files.drop(FileKind.RESULT, "abc")
        assert await whole(files, FileKind.RESULT, "abc") is None
        files.close()

    asyncio.run(use())


def test_many_at_once_share_a_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs: list[int] = []
    monkeypatch.setattr(journal_module.os, "fdatasync", syncs.append)

    async def use() -> None:
        files = Files(str(tmp_path / "files"))
        await asyncio.gather(*(files.put(FileKind.PAYLOAD, f"job{n}", b"x" * 3000) for n in range(200)))
        files.close()

    asyncio.run(use())
    assert 1 <= len(syncs) <= 20


def test_what_the_folder_lost_comes_back_from_the_journal(tmp_path: Path) -> None:
    """A power cut keeps what was synced: the journal, but not the small files themselves."""
    root = tmp_path / "files"

    async def write() -> None:
        files = Files(str(root))
        for name in ("kept", "lost", "torn", "dropped"):
            await files.put(FileKind.PAYLOAD, name, name.encode() * 100)
        await files.drop(FileKind.PAYLOAD, "dropped")
        # No close: the process is gone.
        paths = {name: files.local_path(FileKind.PAYLOAD, name) for name in ("lost", "torn", "dropped")}
        assert paths["lost"] is not None
        assert paths["torn"] is not None
        assert paths["dropped"] is not None
        paths["lost"].unlink()
        paths["torn"].write_bytes(b"tor")
        paths["dropped"].write_bytes(b"dropped" * 100)

    async def look() -> None:
        files = Files(str(root))
        for name in ("kept", "lost", "torn"):
            assert await whole(files, FileKind.PAYLOAD, name) == name.encode() * 100
        assert await whole(files, FileKind.PAYLOAD, "dropped") is None
        files.close()

    asyncio.run(write())
    asyncio.run(look())
    assert list((root / "journal").iterdir()) == []


def test_a_torn_end_of_the_journal_is_left_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append([("payloads/aa/first", b"first"), ("payloads/aa/second", b"second")])
    path = next((tmp_path / "journal").iterdir())
    path.write_bytes(path.read_bytes()[:-3])
    again = Journal(tmp_path)
    assert (tmp_path / "payloads/aa/first").read_bytes() == b"first"
    assert not (tmp_path / "payloads/aa/second").exists()
    again.close()


def test_a_full_journal_is_followed_by_another_and_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "FULL_BYTES", 1000)
    journal = Journal(tmp_path)
    for number in range(50):
        journal.append([(f"payloads/aa/{number}", b"x" * 200)])
    journal.close()
    assert list((tmp_path / "journal").iterdir()) == []


def test_a_full_disk_refuses_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use() -> None:
        files = Files(str(tmp_path / "files"))
        await files.put(FileKind.PAYLOAD, "before", b"before")

        def full(fd: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(journal_module.os, "fdatasync", full)
            with pytest.raises(OSError, match="No space left"):
                await files.put(FileKind.PAYLOAD, "refused", b"refused")
        assert await whole(files, FileKind.PAYLOAD, "refused") is None
        await files.put(FileKind.PAYLOAD, "after", b"after")

    asyncio.run(use())
    again = Files(str(tmp_path / "files"))
    assert asyncio.run(whole(again, FileKind.PAYLOAD, "before")) == b"before"
    assert asyncio.run(whole(again, FileKind.PAYLOAD, "refused")) is None
    assert asyncio.run(whole(again, FileKind.PAYLOAD, "after")) == b"after"
    again.close()


def test_ids_can_not_leave_the_folder(tmp_path: Path) -> None:
    files = Files(str(tmp_path / "files"))
    with pytest.raises(ValueError, match="not an id"):
        files.local_path(FileKind.PAYLOAD, "../../etc/passwd")
    files.close()


def test_an_unknown_protocol_is_refused_by_name() -> None:
    with pytest.raises(StoreError, match=r"store\.payload_url: 'nonsense://x'"):
        Files("nonsense://x")
