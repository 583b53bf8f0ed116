"""What the importer refuses, and what it leaves out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hypernode_worker.core.types import Cid
from hypernode_worker.errors import ConfigError, ContentInvalid
from hypernode_worker.ipfs import hamt
from hypernode_worker.ipfs.dagpb import Link
from hypernode_worker.ipfs.importer import EMPTY_DIRECTORY, Importer, cid_of_path
from hypernode_worker.ipfs.unixfs import profile_named
from tests.support.ipfs_content import TINY
from tests.support.ipfs_dag import Blocks


def test_symbolic_links_are_refused_wherever_they_lead(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "file").write_text("x")
    for number, target in enumerate(("file", "/etc/passwd", "missing", ".")):
        link = tmp_path / "dir" / f"link{number}"
        link.symlink_to(target)
        with pytest.raises(ContentInvalid, match=f"link{number} is a symbolic link"):
            cid_of_path(tmp_path / "dir", TINY)
        with pytest.raises(ContentInvalid, match="symbolic link"):
            cid_of_path(link, TINY)
        link.unlink()


def test_special_files_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ContentInvalid, match="neither a file nor a directory"):
        cid_of_path(tmp_path, TINY)


def test_names_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).write_text("x")
    with pytest.raises(ContentInvalid, match="isn't UTF-8"):
        cid_of_path(tmp_path, TINY)


def test_missing_and_too_deep_paths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ContentInvalid, match="can't be read"):
        cid_of_path(tmp_path / "missing", TINY)
    (tmp_path / "/".join("d" * 70)).mkdir(parents=True)
    with pytest.raises(ContentInvalid, match="directories deep"):
        cid_of_path(tmp_path, TINY)


def test_handles_are_closed(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "file").write_text("x")
    cid_of_path(tmp_path, TINY)
    (tmp_path / "a" / "b" / "link").symlink_to("x")
    with pytest.raises(ContentInvalid):
        cid_of_path(tmp_path, TINY)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_children_come_before_their_parents(tmp_path: Path) -> None:
    seen: list[Cid] = []
    blocks = Blocks()

    def put(cid: Cid, block: bytes) -> None:
        seen.append(cid)
        blocks.put(cid, block)

    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file").write_bytes(b"x" * 200)
    part = Importer(TINY, put).add_path(tmp_path)
    assert seen[-1] == part.cid
    assert part.file_bytes == 200
    assert part.tsize >= sum(len(block) for block in blocks.values())


def test_empty_directories_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_text("x")
    without = cid_of_path(tmp_path, TINY)
    (tmp_path / "b" / "c").mkdir(parents=True)
    assert cid_of_path(tmp_path, TINY) != without
    blocks = Blocks()
    assert Importer(TINY, blocks.put, skip_empty=True).add_path(tmp_path).cid == without
    assert Importer(TINY, blocks.put, skip_empty=True).add_path(tmp_path / "b").cid == EMPTY_DIRECTORY


def test_names_with_one_hash_can_not_be_sharded() -> None:
    link = Link(Cid.of(b"x"), b"twin", 1)
    with pytest.raises(ContentInvalid, match="same hash"):
        hamt.write([link, link], Cid.of)


def test_an_unknown_profile_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="unixfs-v1-2025, kubo-cid-v1"):
        profile_named("unixfs-v0")
