"""Folders and images for tests against the real engines."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hypernode_worker.core.foreign_tree import delete_tree
from tests.support.providers import IMAGE, import_busybox


@pytest.fixture(scope="session")
def busybox() -> str:
    import_busybox()
    return IMAGE


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="hypernode-runs-"))
    folder.chmod(0o755)
    yield folder
    delete_tree(folder)
