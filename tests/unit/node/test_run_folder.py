"""What a job leaves behind is collected and deleted, whatever it is, and nothing outside is read or touched."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
from solders.pubkey import Pubkey

from hypernode_worker.core.definition import JobDefinition
from hypernode_worker.core.result_directory import list_result_files
from hypernode_worker.core.types import Slot
from hypernode_worker.node.run_folder import RunFolder

DEFINITION = JobDefinition.from_dict({"framework": "custom", "operations": [{"command": "true"}]})


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "data", Pubkey.new_unique(), Slot(7))
    made.create()
    made.fill(DEFINITION)
    return made


def listed(folder: RunFolder) -> list[str]:
    return [file.path for file in list_result_files(folder.result, max_bytes=1 << 20)]


def tower(top: Path, name: str, levels: int) -> None:
    """Folders within folders, deeper than a path can name."""
    top.mkdir(exist_ok=True)
    at = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=at)
        below = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.close(at)


@pytest.mark.parametrize(("name", "levels"), [("n" * 250, 20), ("d", 1_200), ("n" * 250, 100)])
def test_paths_that_nobody_could_fetch_are_dropped_and_deleted(folder: RunFolder, name: str, levels: int) -> None:
    tower(folder.output / "tower", name, levels)
    (folder.output / "good").write_text("good")
    assert folder.collect_output() == 1
    assert listed(folder) == ["output/good"]
    folder.delete()
    assert not folder.path.exists()


def test_a_tower_in_the_workspace_is_deleted(folder: RunFolder) -> None:
    tower(folder.workspace, "d", 1_200)
    folder.delete()
    assert not folder.path.exists()


def test_links_and_special_files_are_left_out_and_not_followed(folder: RunFolder, tmp_path: Path) -> None:
    secret = tmp_path / "id.json"
    secret.write_text("secret")
    (folder.output / "file").symlink_to(secret)
    (folder.output / "folder").symlink_to(tmp_path)
    os.mkfifo(folder.output / "fifo")
    (folder.output / "good").write_text("good")
    assert folder.collect_output() == 3
    assert listed(folder) == ["output/good"]
    folder.delete()
    assert secret.read_text() == "secret"


@pytest.mark.parametrize("put", ["link", "file", "fifo", "nothing"])
def test_an_output_folder_that_was_replaced_is_empty(folder: RunFolder, tmp_path: Path, put: str) -> None:
    folder.output.rmdir()
    (tmp_path / "id.json").write_text("secret")
    match put:
        case "link":
            folder.output.symlink_to(tmp_path)
        case "file":
            folder.output.write_text("no folder")
        case "fifo":
            os.mkfifo(folder.output)
        case _:
            pass
    assert folder.collect_output() == (put != "nothing")
    assert listed(folder) == []
    folder.delete()
    assert (tmp_path / "id.json").exists()


def test_what_a_job_closed_to_its_own_user_is_opened(folder: RunFolder) -> None:
    inner = folder.output / "inner"
    inner.mkdir()
    (inner / "file").write_text("kept")
    for path in (inner / "file", inner, folder.output, folder.workspace):
        path.chmod(0)
    if os.geteuid():
        folder.workspace.chmod(0o700)  # the provider's own: without it nobody finds the way
    assert folder.collect_output() == 0
    assert listed(folder) == ["output/inner/file"]
    folder.workspace.chmod(0)
    folder.delete()
    assert not folder.path.exists()


def test_collecting_may_be_repeated(folder: RunFolder) -> None:
    (folder.output / "good").write_text("good")
    assert (folder.collect_output(), folder.collect_output()) == (0, 0)
    assert listed(folder) == ["output/good"]


def test_half_a_copy_never_passes_for_the_output(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        (folder.output / name).write_text(name)

    def refuse(path: Path, target: Path) -> None:
        if path == folder.output:
            raise PermissionError(errno.EPERM, "it is another user's")
        path.replace(target)

    def half(source: Path, target: Path, **_: object) -> None:
        target.mkdir()
        (target / "a").write_bytes((source / "a").read_bytes())
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "rename", refuse)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copytree", half)
        with pytest.raises(OSError, match="No space left"):
            folder.collect_output()
    assert listed(folder) == []
    assert folder.collect_output() == 0
    assert listed(folder) == ["output/a", "output/b", "output/c"]


def test_output_that_was_being_dropped_stays_dropped(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.output / "big").write_text("too much")
    folder.collect_output()
    assert not folder.output_dropped

    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hypernode_worker.node.run_folder.delete_tree", killed)
        with pytest.raises(KeyboardInterrupt):
            folder.drop_output()
    assert folder.output_dropped
    folder.drop_output()
    assert listed(folder) == []
