"""Worlds for workers, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest

from tests.support.worker import World, open_world, run_threads_inline

Worlds = Callable[..., AbstractAsyncContextManager[World]]


@pytest.fixture
def worlds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Worlds:
    """Opens a world: to be done inside the test, for only there is time virtual."""
    run_threads_inline(monkeypatch)
    return partial(open_world, tmp_path / "data")
