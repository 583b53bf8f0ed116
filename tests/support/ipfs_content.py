"""Content whose CIDs Kubo once gave (`tests/unit/ipfs/golden.json`), made anew wherever a test wants it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from hypernode_worker.ipfs.unixfs import PROFILES, Profile

TINY = Profile("tiny", 10, 3, shard_by_block=True)
"""Cuts so small that a kilobyte has the layers of a terabyte."""

ALL_PROFILES = {**PROFILES, TINY.name: TINY}

_KIB, _MIB = 1024, 1024 * 1024
FILE_SIZES = {
    "tiny": (0, 1, 9, 10, 11, 29, 30, 31, 40, 89, 90, 91, 100, 269, 270, 271, 280, 811),
    "kubo-cid-v1": (0, 1, 256 * _KIB - 1, 256 * _KIB, 256 * _KIB + 1, 174 * 256 * _KIB, 174 * 256 * _KIB + 1),
    "unixfs-v1-2025": (0, 1, _MIB - 1, _MIB, _MIB + 1, 3 * _MIB + 5),
}


def pattern(size: int) -> bytes:
    """`size` bytes that repeat nowhere near a chunk's edge, the same on every machine."""
    return hashlib.shake_128(b"hypernode-worker").digest(size)


def _empty(_root: Path, _profile: Profile) -> None:
    """An empty directory."""


def _nested(root: Path, _profile: Profile) -> None:
    (root / "a" / "b" / "c").mkdir(parents=True)
    (root / "a" / "empty").mkdir()
    (root / "a" / "b" / "c" / "deep.bin").write_bytes(pattern(1000))
    (root / "a" / "b" / "nothing").write_bytes(b"")
    (root / ".hidden").write_bytes(b"seen")
    (root / "big.bin").write_bytes(pattern(3 * _MIB + 1))


def _names(root: Path, _profile: Profile) -> None:
    for name in (
        "ä",
        "Z",
        "a",
        "日本語.txt",
        "a b",
        "a%20b",
        "A",
        "\U0001f600",
        "-x",
        "a\\b",
        'q"uote',
        "1",
        "10",
        "2",
    ):
        (root / name).write_bytes(name.encode())


def _edge(root: Path, profile: Profile, over: int) -> None:
    """A directory at the very size from which it is sharded: `over` bytes more."""
    # What an entry of one byte costs beyond its name: by block, the link's protobuf; else the CID alone.
    fixed, length, index = (44 if profile.shard_by_block else 36), 20, 0
    left = profile.shard_bytes - (4 if profile.shard_by_block else 0) + over
    while left:
        name = length if left > 2 * (fixed + length) else left - fixed
        (root / f"{index:0{name}}").write_bytes(b"x")
        left -= fixed + name
        index += 1


TREES: dict[str, Callable[[Path, Profile], None]] = {
    "empty": _empty,
    "nested": _nested,
    "names": _names,
    "just basic": lambda root, profile: _edge(root, profile, 0),
    "just sharded": lambda root, profile: _edge(root, profile, 1),
}
TREE_PROFILES = tuple(PROFILES)


def make_tree(root: Path, name: str, profile: Profile) -> Path:
    """Makes the directory `root` with the content of this name."""
    root.mkdir()
    TREES[name](root, profile)
    return root


def keys() -> list[str]:
    """All golden cases: 'PROFILE file SIZE' and 'PROFILE tree NAME'."""
    files = [f"{profile} file {size}" for profile, sizes in FILE_SIZES.items() for size in sizes]
    return files + [f"{profile} tree {name}" for profile in TREE_PROFILES for name in TREES]


def make(key: str, folder: Path) -> tuple[Path, Profile]:
    """Makes the content of a golden case below `folder`; where it lies, and its profile."""
    name, kind, what = key.split(" ", 2)
    profile = ALL_PROFILES[name]
    if kind == "tree":
        return make_tree(folder / "tree", what, profile), profile
    path = folder / "file"
    path.write_bytes(pattern(int(what)))
    return path, profile
