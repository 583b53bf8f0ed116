"""A workspace that a stranger wrote: measured, given away and deleted without leaving it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hypernode_worker.core.foreign_tree import delete_tree
from hypernode_worker.providers.workspace import (
    MAX_DEPTH,
    give_workspace,
    make_workdir,
    measure_workspace,
)

GIB = 1024**3


def deep(path: Path, levels: int) -> None:
    """Folders within folders, deeper than a path can name."""
    folder = os.open(path, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d" * 50, dir_fd=folder)
        below = os.open("d" * 50, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.close(folder)


def test_it_counts_files_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"x" * 100_000)
    (tmp_path / "y").write_bytes(b"y")
    use = measure_workspace(tmp_path, max_bytes=GIB)
    assert use.files == 3
    assert 100_001 <= use.bytes < 200_000
    assert use.over is None


def test_bounds_are_said(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / str(number)).write_bytes(b"x" * 1000)
    assert "bytes" in (measure_workspace(tmp_path, max_bytes=5000).over or "")
    assert "files" in (measure_workspace(tmp_path, max_bytes=GIB, max_files=9).over or "")
    assert measure_workspace(tmp_path, max_bytes=GIB, max_files=10).over is None


def test_links_count_once_and_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x" * 100_000)
    (tmp_path / "hard").hardlink_to(tmp_path / "x")
    (tmp_path / "soft").symlink_to("/")
    (tmp_path / "loop").symlink_to(tmp_path)
    use = measure_workspace(tmp_path, max_bytes=GIB)
    assert use.files == 4
    assert use.bytes < 150_000


def test_a_sparse_file_counts_whole(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(10 * GIB)
    assert measure_workspace(tmp_path, max_bytes=GIB).over


def test_a_missing_workspace_holds_nothing(tmp_path: Path) -> None:
    assert measure_workspace(tmp_path / "gone", max_bytes=1).files == 0


def test_depth_is_bounded_and_deep_ones_can_be_deleted(tmp_path: Path) -> None:
    workspace = tmp_path / "w"
    workspace.mkdir()
    deep(workspace, 2000)
    assert "deeper" in (measure_workspace(workspace, max_bytes=GIB).over or "")
    give_workspace(workspace, os.getuid(), os.getgid())
    delete_tree(workspace)
    assert not workspace.exists()


def test_the_greatest_depth_is_fine(tmp_path: Path) -> None:
    deep(tmp_path, MAX_DEPTH - 1)
    assert measure_workspace(tmp_path, max_bytes=GIB).over is None


def test_delete_opens_what_was_closed_and_spares_what_links_name(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    workspace = tmp_path / "w"
    (workspace / "a" / "b" / "c").mkdir(parents=True)
    (workspace / "a" / "b" / "c" / "f").write_text("x")
    (workspace / "link").symlink_to(outside)
    (workspace / "a" / "link").symlink_to(outside)
    (workspace / "a" / "b" / "c").chmod(0)
    (workspace / "a" / "b").chmod(0)
    (workspace / "a").chmod(0)
    delete_tree(workspace)
    delete_tree(workspace)
    assert not workspace.exists()
    assert (outside / "precious").exists()


def test_workdirs_are_made(tmp_path: Path) -> None:
    assert make_workdir(tmp_path, ("a", "b"), owner=None)
    assert make_workdir(tmp_path, ("a", "b"), owner=None)
    assert make_workdir(tmp_path, (), owner=None)
    assert (tmp_path / "a" / "b").is_dir()


def test_a_workdir_is_not_made_through_a_link_or_a_file(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    workspace = tmp_path / "w"
    workspace.mkdir()
    (workspace / "link").symlink_to(outside)
    (workspace / "file").write_text("x")
    assert not make_workdir(workspace, ("link", "x"), owner=None)
    assert not make_workdir(workspace, ("file", "x"), owner=None)
    assert not list(outside.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_giving_away_does_not_follow_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("x")
    workspace = tmp_path / "w"
    (workspace / "a").mkdir(parents=True)
    (workspace / "a" / "f").write_text("x")
    (workspace / "link").symlink_to(outside)
    give_workspace(workspace, 10001, 10001)
    assert outside.stat().st_uid == 0
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in [workspace, *workspace.rglob("*")]} == {
        (10001, 10001)
    }
