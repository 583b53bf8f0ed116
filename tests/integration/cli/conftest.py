"""One chain for all tests of a file: each makes markets and mints of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.clocked_town import ClockedTown, open_clocked_town


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClockedTown]:
    with open_clocked_town(tmp_path_factory.mktemp("town")) as town:
        yield town
