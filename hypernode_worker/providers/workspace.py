"""The folder that a job sees as /workspace: who owns it, how much it holds, how it is deleted.

Its content is a stranger's: names are followed by folder descriptors and never through symbolic links, depth and
number of entries are bounded. The imports stay light: the supervisor of a process run loads this module too.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MAX_FILES = 200_000
"""Files and folders in one workspace: each costs the host an inode, even when empty."""

MAX_DEPTH = 100
"""Folders within folders; deeper ones can't be reached by path, and ordinary tools fail to delete them."""

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class WorkspaceUse:
    """What a workspace holds: bytes as the larger of length and allocation, so that a sparse file counts whole.

    Attributes:
        over: which bound was met, as words for a person; None while within all. Counting stops there.
    """

    bytes: int
    files: int
    over: str | None


def measure_workspace(path: Path, *, max_bytes: int, max_files: int = MAX_FILES) -> WorkspaceUse:
    """Walks the tree once; at most `max_files` entries are looked at.

    A job may write while it is measured: what vanishes meanwhile isn't counted.
    """
    total = files = 0
    linked: set[int] = set()
    for depth, entry in _walk(path):
        files += 1
        total += _entry_bytes(entry, linked)
        over = (
            f"{max_bytes} bytes or more"
            if total >= max_bytes  # one file stops exactly there, at the limit for a file's size
            else f"more than {max_files} files"
            if files > max_files
            else f"folders deeper than {MAX_DEPTH}"
            if depth >= MAX_DEPTH
            else None
        )
        if over:
            return WorkspaceUse(total, files, over)
    return WorkspaceUse(total, files, None)


def _entry_bytes(entry: os.DirEntry[str], linked: set[int]) -> int:
    try:
        info = entry.stat(follow_symlinks=False)
    except OSError:
        return 0  # gone meanwhile
    if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
        if info.st_ino in linked:
            return 0
        linked.add(info.st_ino)
    return max(info.st_size if stat.S_ISREG(info.st_mode) else 0, info.st_blocks * 512)


def _walk(path: Path) -> Iterator[tuple[int, os.DirEntry[str]]]:
    """Every entry below, with its depth from 0, down to MAX_DEPTH; depth first, one open folder a level."""
    try:
        root = os.open(path, _OPEN_FOLDER)
    except FileNotFoundError:
        return
    stack = [(root, iter(_list(root)))]
    try:
        while stack:
            folder, entries = stack[-1]
            entry = next(entries, None)
            if entry is None:
                os.close(stack.pop()[0])
                continue
            depth = len(stack) - 1
            yield depth, entry
            if depth < MAX_DEPTH and entry.is_dir(follow_symlinks=False):
                below = _open_below(folder, entry.name)
                if below >= 0:
                    stack.append((below, iter(_list(below))))
    finally:
        for folder, _ in stack:
            os.close(folder)


def _list(folder: int) -> list[os.DirEntry[str]]:
    entries: list[os.DirEntry[str]] = []
    with os.scandir(folder) as found:
        for entry in found:
            entries.append(entry)
            if len(entries) > MAX_FILES:  # memory is bounded; the count above the bound is all that matters
                break
    return entries


def _open_below(folder: int, name: str) -> int:
    """Opens a folder in a folder; one that its owner closed to itself is opened up first. -1: gone or no folder."""
    try:
        return os.open(name, _OPEN_FOLDER, dir_fd=folder)
    except PermissionError:
        _unlock(folder, name)
    except OSError:
        return -1
    try:
        return os.open(name, _OPEN_FOLDER, dir_fd=folder)
    except OSError:
        return -1


def _unlock(folder: int, name: str) -> None:
    """chmod 0700 on exactly this folder: a job without root can hide files from a worker of the same user."""
    try:
        found = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return
    try:
        Path(f"/proc/self/fd/{found}").chmod(0o700)
    except OSError:
        pass
    finally:
        os.close(found)


def give_workspace(path: Path, uid: int, gid: int) -> None:
    """Makes a user the owner of the folder and all in it (only root can); symbolic links are not followed.

    Called while no container uses the workspace. May be repeated, and costs one walk when nothing is to be done.
    """
    root = os.open(path, _OPEN_FOLDER)
    try:
        _give(root, uid, gid, 0)
    finally:
        os.close(root)


def _give(folder: int, uid: int, gid: int, depth: int) -> None:
    if (os.fstat(folder).st_uid, os.fstat(folder).st_gid) != (uid, gid):
        os.fchown(folder, uid, gid)
    for entry in _list(folder):
        if entry.is_dir(follow_symlinks=False):
            below = _open_below(folder, entry.name)
            if below >= 0 and depth <= MAX_DEPTH:
                try:
                    _give(below, uid, gid, depth + 1)
                finally:
                    os.close(below)
            continue
        info = entry.stat(follow_symlinks=False)
        if (info.st_uid, info.st_gid) != (uid, gid):
            os.chown(entry.name, uid, gid, dir_fd=folder, follow_symlinks=False)


def make_workdir(workspace: Path, parts: tuple[str, ...], *, owner: tuple[int, int] | None) -> bool:
    """Makes the folders of a workdir inside the workspace, owned by the given user and group (None: by this one).

    False: something in the way is no folder (a symbolic link counts as such).
    """
    folder = os.open(workspace, _OPEN_FOLDER)
    try:
        for name in parts:
            try:
                os.mkdir(name, 0o755, dir_fd=folder)
                if owner is not None:
                    os.chown(name, *owner, dir_fd=folder, follow_symlinks=False)
            except FileExistsError:
                pass
            below = _open_below(folder, name)
            if below < 0:
                return False
            os.close(folder)
            folder = below
    finally:
        os.close(folder)
    return True


def delete_tree(path: Path) -> None:
    """Deletes a folder that a job wrote: any depth, closed folders, any names. Fine when it is gone.

    Folders that lie deep are first moved to the top, so that neither path length nor open files run out.
    """
    try:
        root = os.open(path, _OPEN_FOLDER)
    except FileNotFoundError:
        return
    moved = 0
    try:
        pending = True
        while pending:
            pending = False
            for entry in _list(root):
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.name, dir_fd=root)
                    continue
                pending = True
                below = _open_below(root, entry.name)
                if below < 0:
                    continue
                try:
                    moved = _empty(below, root, moved)
                finally:
                    os.close(below)
                os.rmdir(entry.name, dir_fd=root)
    finally:
        os.close(root)
    path.rmdir()


def _empty(folder: int, root: int, moved: int) -> int:
    """Deletes the files of a folder and moves its folders to the top under new names."""
    while entries := _list(folder):
        os.fchmod(folder, 0o700)
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.name, dir_fd=folder)
                continue
            _unlock(folder, entry.name)  # renaming a folder writes its '..'
            while True:
                moved += 1
                try:
                    os.stat(f".moved-{moved}", dir_fd=root, follow_symlinks=False)
                except FileNotFoundError:
                    break
            os.rename(entry.name, f".moved-{moved}", src_dir_fd=folder, dst_dir_fd=root)
    return moved
