"""The folder that a job sees as /workspace: who owns it, and how much it holds.

Its content is a stranger's: names are followed by folder descriptors and never through symbolic links, depth and
number of entries are bounded. The imports stay light: the supervisor of a process run loads this module too.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from hypernode_worker.core.foreign_tree import MAX_DEPTH, MAX_FILES, OPEN_FOLDER, list_folder, open_below, walk_tree


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
    for depth, entry in walk_tree(path):
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


def give_workspace(path: Path, uid: int, gid: int) -> None:
    """Makes a user the owner of the folder and all in it (only root can); symbolic links are not followed.

    Called while no container uses the workspace. May be repeated, and costs one walk when nothing is to be done.
    """
    root = os.open(path, OPEN_FOLDER)
    try:
        _give(root, uid, gid, 0)
    finally:
        os.close(root)


def _give(folder: int, uid: int, gid: int, depth: int) -> None:
    if (os.fstat(folder).st_uid, os.fstat(folder).st_gid) != (uid, gid):
        os.fchown(folder, uid, gid)
    for entry in list_folder(folder):
        if entry.is_dir(follow_symlinks=False):
            below = open_below(folder, entry.name)
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
    folder = os.open(workspace, OPEN_FOLDER)
    try:
        for name in parts:
            try:
                os.mkdir(name, 0o755, dir_fd=folder)
                if owner is not None:
                    os.chown(name, *owner, dir_fd=folder, follow_symlinks=False)
            except FileExistsError:
                pass
            below = open_below(folder, name)
            if below < 0:
                return False
            os.close(folder)
            folder = below
    finally:
        os.close(folder)
    return True
