"""The log that a run keeps: bounded to the byte, resumable, and never written through a link."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernode_worker.providers.bounded_log import BoundedLog, log_offset


@given(chunks=st.lists(st.binary(max_size=50), max_size=20), limit=st.integers(0, 200))
def test_it_keeps_the_first_bytes(tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes], limit: int) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    with BoundedLog(path, limit=limit) as log:
        fits = [log.write(chunk) for chunk in chunks]
    whole = b"".join(chunks)
    assert path.read_bytes() == whole[:limit]
    assert all(fits) == (len(whole) <= limit)


def test_it_appends_and_starts_over_at_an_offset(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"earlier\n")
    offset = log_offset(path)
    for text in (b"first try, cut off", b"second"):
        with BoundedLog(path, limit=100, offset=offset) as log:
            assert log.write(text)
    assert path.read_bytes() == b"earlier\nsecond"


def test_a_new_log_is_private(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert log_offset(path) == 0
    BoundedLog(path, limit=1).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("")
    (tmp_path / "log").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic"):
        BoundedLog(tmp_path / "log", limit=1)
