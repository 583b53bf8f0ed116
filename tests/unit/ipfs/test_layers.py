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
from hypernode_worker.ipfs.layers import HEAD_START_S, RACING, SHUN_S, SLOW_MOST_S, SLOW_S, LayeredSource

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
    cancelled: int = 0

    async def block(self, cid: Cid) -> bytes:
        self.asked.append(asyncio.get_running_loop().time())
        try:
            await asyncio.sleep(self.delay_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(self.answer, Exception):
            raise self.answer
        return DATA[CIDS.index(cid)] if self.answer is None else self.answer


def layered(folder: Path, places: Sequence[Place], *, head_start_s: float = 2.0) -> LayeredSource:
    return LayeredSource(EmbeddedStore(folder), places, head_start_s=head_start_s)


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


# --- the race


async def test_silent_places_get_company_ever_later_and_all_but_the_winner_are_cancelled(tmp_path: Path) -> None:
    places = [Place("a", delay_s=100.0), Place("b", delay_s=100.0), Place("c", delay_s=1.0), Place("d")]
    source = layered(tmp_path, places, head_start_s=HEAD_START_S)
    assert await source.block(CIDS[0]) == DATA[0]
    assert [place.asked[0] for place in places[:3]] == pytest.approx([0.0, 0.3, 0.9], abs=0.02)
    assert now() == pytest.approx(1.9, abs=0.02)
    assert [place.cancelled for place in places] == [1, 1, 0, 0]
    assert places[3].asked == []
    assert len(asyncio.all_tasks()) == 1


async def test_one_that_fails_is_followed_by_the_next_at_once(tmp_path: Path) -> None:
    places = [Place("a", EndpointDown("refused"), 0.0), Place("b", ContentNotFound("no"), 0.0), Place("c")]
    await layered(tmp_path, places, head_start_s=HEAD_START_S).block(CIDS[0])
    assert now() < 0.1


async def test_a_place_that_usually_takes_its_time_gets_it(tmp_path: Path) -> None:
    usual, other = Place("a", delay_s=0.25), Place("b")
    source = layered(tmp_path, [usual, other], head_start_s=HEAD_START_S)
    await source.block(CIDS[0])
    usual.delay_s = 0.45  # within twice its usual time
    await source.block(CIDS[1])
    assert other.asked == []


async def test_a_slow_first_place_costs_one_head_start_and_not_one_a_block(tmp_path: Path) -> None:
    slow, fast = Place("a", delay_s=1.5), Place("b")
    source = layered(tmp_path, [slow, fast], head_start_s=HEAD_START_S)
    for index in range(20):
        await source.block(CIDS[index])
    assert now() == pytest.approx(0.3 + 20 * 0.01, abs=0.1)
    assert len(slow.asked) == 1


async def test_time_outs_grow_with_each_offence_and_end_with_a_delivery(tmp_path: Path) -> None:
    silent, other = Place("a", delay_s=1000.0), Place("b")
    source = layered(tmp_path, [silent, other], head_start_s=HEAD_START_S)
    pauses: list[float] = []
    index = 0
    for _ in range(4):
        before = len(silent.asked)
        while len(silent.asked) == before:
            EmbeddedStore(tmp_path / f"{index}")
            source = _forget(source, tmp_path / f"{index}")
            await source.block(CIDS[index % 20])
            index += 1
            await asyncio.sleep(0.2)
    pauses = [later - earlier for earlier, later in zip(silent.asked, silent.asked[1:], strict=False)]
    for number, pause in enumerate(pauses):
        assert SLOW_S * 2**number * 0.5 <= pause <= SLOW_S * 2**number + 1.0
    silent.delay_s = 0.01
    await asyncio.sleep(SLOW_MOST_S)
    source = _forget(source, tmp_path / "again")
    await source.block(CIDS[0])
    silent.delay_s = 1000.0
    await source.block(CIDS[1])
    offended = now()
    while silent.asked[-1] <= offended:
        source = _forget(source, tmp_path / f"b{index}")
        await source.block(CIDS[2])
        index += 1
        await asyncio.sleep(0.2)
    assert silent.asked[-1] - offended <= SLOW_S + 1.0


def _forget(source: LayeredSource, folder: Path) -> LayeredSource:
    """The same places and what is known of them, over blocks that aren't here."""
    source._local = EmbeddedStore(folder)  # pyright: ignore[reportPrivateUsage]
    return source


async def test_a_liar_is_not_even_asked_while_there_is_another(tmp_path: Path) -> None:
    liar, slow = Place("liar", b"wrong"), Place("slow", delay_s=5.0)
    source = layered(tmp_path, [liar, slow], head_start_s=HEAD_START_S)
    for index in range(3):
        await source.block(CIDS[index])
    assert len(liar.asked) == 1


async def test_many_blocks_over_silent_places_ask_only_so_much_at_once(tmp_path: Path) -> None:
    places = [Place(name, delay_s=1000.0) for name in "abcdefgh"]
    source = layered(tmp_path, places, head_start_s=HEAD_START_S)
    tasks = [asyncio.create_task(source.block(cid)) for cid in CIDS[:10]]
    await asyncio.sleep(200)
    assert sum(len(place.asked) for place in places) == RACING
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(place.cancelled for place in places) == RACING
