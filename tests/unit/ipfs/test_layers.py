"""Which place is asked when, and what happens to those that are slow, wrong or down. In virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hypernode_worker.core.types import Cid
from hypernode_worker.errors import ConfigError, ContentNotFound, EndpointDown
from hypernode_worker.ipfs.blocks import EmbeddedStore
from hypernode_worker.ipfs.layers import SHUN_S, SLOW_S, LayeredSource

pytestmark = pytest.mark.looptime
DATA = [b"%d" % index for index in range(20)]
CIDS = [Cid.of(data) for data in DATA]


@dataclass
class Place:
    """A remote source that answers after `delay_s` with what `answer` says."""

    label: str
    answer: bytes | Exception | None = None
    delay_s: float = 0.01
    asked: list[float] = field(default_factory=list[float])

    async def block(self, cid: Cid) -> bytes:
        self.asked.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.delay_s)
        if isinstance(self.answer, Exception):
            raise self.answer
        return DATA[CIDS.index(cid)] if self.answer is None else self.answer


def layered(folder: Path, places: Sequence[Place]) -> LayeredSource:
    return LayeredSource(EmbeddedStore(folder), places, head_start_s=2.0)


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_what_is_here_is_not_asked_for(tmp_path: Path) -> None:
    place = Place("a")
    EmbeddedStore(tmp_path).put(CIDS[0], DATA[0])
    assert await layered(tmp_path, [place]).block(CIDS[0]) == DATA[0]
    assert place.asked == []


async def test_what_is_fetched_is_kept(tmp_path: Path) -> None:
    place = Place("a")
    source = layered(tmp_path, [place])
    assert [await source.block(CIDS[0]) for _ in range(3)] == [DATA[0]] * 3
    assert len(place.asked) == 1
    assert EmbeddedStore(tmp_path).get(CIDS[0]) == DATA[0]


async def test_without_remote_places_missing_is_an_answer_at_once(tmp_path: Path) -> None:
    with pytest.raises(ContentNotFound, match="no gateway is set"):
        await layered(tmp_path, []).block(CIDS[0])
    assert now() < 1


async def test_a_place_that_has_not_got_it_is_passed_over_at_once(tmp_path: Path) -> None:
    first, second = Place("a", ContentNotFound("no")), Place("b")
    assert await layered(tmp_path, [first, second]).block(CIDS[0]) == DATA[0]
    assert now() < 1


async def test_a_silent_place_gets_company_and_then_comes_last(tmp_path: Path) -> None:
    silent, second = Place("a", delay_s=1000.0), Place("b")
    source = layered(tmp_path, [silent, second])
    await source.block(CIDS[0])
    assert now() == pytest.approx(2.01, abs=0.1)
    await source.block(CIDS[1])
    assert now() == pytest.approx(2.02, abs=0.1)
    assert len(silent.asked) == 1
    await asyncio.sleep(SLOW_S)
    await source.block(CIDS[2])
    assert len(silent.asked) == 2


async def test_wrong_bytes_are_thrown_away_and_their_place_avoided(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    liar, honest = Place("liar", b"wrong"), Place("honest")
    source = layered(tmp_path, [liar, honest])
    for index in range(5):
        assert await source.block(CIDS[index]) == DATA[index]
    assert len(liar.asked) == 1
    assert "liar answered other bytes" in caplog.text
    await asyncio.sleep(SHUN_S)
    await source.block(CIDS[9])
    assert len(liar.asked) == 2


async def test_a_place_that_is_down_comes_after_the_others(tmp_path: Path) -> None:
    down, second = Place("a", EndpointDown("down"), delay_s=1.5), Place("b")
    source = layered(tmp_path, [down, second])
    for index in range(5):
        await source.block(CIDS[index])
    assert len(down.asked) == 1


async def test_it_asks_again_until_somebody_has_it(tmp_path: Path) -> None:
    place = Place("a", ContentNotFound("not yet"))
    source = layered(tmp_path, [place])
    task = asyncio.create_task(source.block(CIDS[0]))
    await asyncio.sleep(60)
    assert 5 < len(place.asked) < 15
    assert source.failures() == "a: not yet"
    place.answer = None
    assert await task == DATA[0]
    assert now() < 70


async def test_callers_share_one_request(tmp_path: Path) -> None:
    place = Place("a", delay_s=1.0)
    source = layered(tmp_path, [place])
    assert await asyncio.gather(*(source.block(CIDS[0]) for _ in range(8))) == [DATA[0]] * 8
    assert len(place.asked) == 1


async def test_one_caller_leaving_does_not_stop_the_others(tmp_path: Path) -> None:
    place = Place("a", delay_s=1.0)
    source = layered(tmp_path, [place])
    leaving, staying = (asyncio.create_task(source.block(CIDS[0])) for _ in range(2))
    await asyncio.sleep(0.5)
    leaving.cancel()
    assert await staying == DATA[0]
    assert leaving.cancelled()


async def test_when_all_leave_nothing_goes_on(tmp_path: Path) -> None:
    source = layered(tmp_path, [Place("a", delay_s=1000.0), Place("b", delay_s=1000.0)])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await source.block(CIDS[0])
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_what_a_person_must_change_is_not_hidden(tmp_path: Path) -> None:
    source = layered(tmp_path, [Place("a", ConfigError("the token is wrong")), Place("b")])
    with pytest.raises(ConfigError, match="token"):
        await source.block(CIDS[0])
