"""A folder that a stranger wrote, looked at and deleted without being led out of it or worn out by it.

Names are followed by folder descriptors and never through symbolic links; depth, length of paths and number of
entries don't matter. Blocking. The imports stay light: the supervisor of a process run loads this module too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

MAX_FILES = 200_000
"""Files and folders in one workspace: each costs the host an inode, even when empty."""

MAX_DEPTH = 100
"""Folders within folders; deeper ones can't be reached by path, and ordinary tools fail to delete them."""

OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def list_folder(folder: int) -> list[os.DirEntry[str]]:
    """What a folder holds, and no more than MAX_FILES + 1 of it."""
    entries: list[os.DirEntry[str]] = []
    with os.scandir(folder) as found:
        for entry in found:
            entries.append(entry)
            if len(entries) > MAX_FILES:  # memory is bounded; the count above the bound is all that matters
                break
    return entries


def open_below(folder: int, name: str) -> int:
    """Opens a folder in a folder; one that its owner closed to itself is opened up first. -1: gone or no folder."""
    try:
        return os.open(name, OPEN_FOLDER, dir_fd=folder)
    except PermissionError:
        unlock(folder, name)
    except OSError:
        return -1
    try:
        return os.open(name, OPEN_FOLDER, dir_fd=folder)
    except OSError:
        return -1


def unlock(folder: int | None, name: str) -> None:
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


def walk_tree(path: Path) -> Iterator[tuple[int, os.DirEntry[str]]]:
    """Every entry below, with its depth from 0, down to MAX_DEPTH; depth first, one open folder a level."""
    try:
        root = os.open(path, OPEN_FOLDER)
    except FileNotFoundError:
        return
    stack = [(root, iter(list_folder(root)))]
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
                below = open_below(folder, entry.name)
                if below >= 0:
                    stack.append((below, iter(list_folder(below))))
    finally:
        for folder, _ in stack:
            os.close(folder)


def delete_tree(path: Path) -> None:
    """Deletes a folder that a job wrote: any depth, closed folders, any names. Fine when it is gone.

    Folders that lie deep are first moved to the top, so that neither path length nor open files run out.

    Raises:
        OSError: something in it is another user's.
    """
    unlock(None, str(path))
    try:
        root = os.open(path, OPEN_FOLDER)
    except FileNotFoundError:
        return
    moved = 0
    try:
        pending = True
        while pending:
            pending = False
            for entry in list_folder(root):
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.name, dir_fd=root)
                    continue
                pending = True
                below = open_below(root, entry.name)
                if below < 0:
                    os.rmdir(entry.name, dir_fd=root)  # says why it can't be opened
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
    while entries := list_folder(folder):
        os.fchmod(folder, 0o700)
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.name, dir_fd=folder)
                continue
            unlock(folder, entry.name)  # renaming a folder writes its '..'
            while True:
                moved += 1
                try:
                    os.stat(f".moved-{moved}", dir_fd=root, follow_symlinks=False)
                except FileNotFoundError:
                    break
            os.rename(entry.name, f".moved-{moved}", src_dir_fd=folder, dst_dir_fd=root)
    return moved
