"""What every provider does with a run: how it starts, what it says, how it ends."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from hypernode_worker.core.ports import ExitReason
from hypernode_worker.errors import ConfigError, ImageUnavailable, PermanentError, StartFailed
from tests.support.providers import (
    COUNT,
    COUNT_SLOWLY,
    DEAF,
    EXIT_7,
    KILLED_BY_SEGV,
    LIMITS,
    NO_NEWLINE,
    SILENT_BUT_ALIVE,
    SLEEP,
    SLEEP_A_SECOND,
    SPEAK,
    SUCCEED,
    WRITE_FILES,
    Bench,
    Program,
    until_logged,
)

WAIT_S = 20


@pytest.mark.parametrize(("program", "code"), [(SUCCEED, 0), (EXIT_7, 7), (KILLED_BY_SEGV, 139)])
async def test_exit_codes_and_signals(bench: Bench, program: Program, code: int) -> None:
    handle = await bench.start(bench.spec(program))
    ended = await asyncio.wait_for(bench.provider.wait(handle), WAIT_S)
    assert (ended.exit_code, ended.reason) == (code, ExitReason.EXITED)
    assert 0 < ended.started_at <= ended.ended_at


async def test_a_wait_may_be_repeated(bench: Bench) -> None:
    handle = await bench.start(bench.spec(EXIT_7))
    first = await bench.provider.wait(handle)
    assert await bench.provider.wait(handle) == first


async def test_output_of_both_streams_is_kept(bench: Bench) -> None:
    spec = bench.spec(SPEAK)
    await bench.provider.wait(await bench.start(spec))
    assert sorted(spec.log_path.read_text().splitlines()) == ["to stderr", "to stdout"]


async def test_output_is_kept_in_order_and_whole(bench: Bench) -> None:
    spec = bench.spec(COUNT)
    await bench.provider.wait(await bench.start(spec))
    assert spec.log_path.read_text() == "".join(f"line {i}\n" for i in range(1, 2001))


async def test_output_without_a_newline_is_kept_as_it_is(bench: Bench) -> None:
    spec = bench.spec(NO_NEWLINE)
    await bench.provider.wait(await bench.start(spec))
    assert spec.log_path.read_bytes() == b"abc"


async def test_two_operations_share_one_log(bench: Bench) -> None:
    first = bench.spec(NO_NEWLINE)
    await bench.provider.wait(await bench.start(first))
    await bench.provider.wait(await bench.start(replace(first, operation=1)))
    assert first.log_path.read_bytes() == b"abcabc"


async def test_it_runs_on_after_closing_its_output(bench: Bench) -> None:
    handle = await bench.start(bench.spec(SILENT_BUT_ALIVE))
    ended = await asyncio.wait_for(bench.provider.wait(handle), WAIT_S)
    assert ended.exit_code == 4
    assert ended.ended_at - ended.started_at > 0.9


async def test_files_it_makes_can_be_read_and_deleted(bench: Bench) -> None:
    spec = bench.spec(WRITE_FILES)
    (spec.workspace / "given").write_bytes(b"given content")
    ended = await bench.provider.wait(await bench.start(spec))
    assert ended.exit_code == 0, spec.log_path.read_text()
    assert (spec.workspace / "out/deep/result").read_bytes() == b"given content"
    (spec.workspace / "out/deep/result").unlink()


async def test_a_cancelled_wait_leaves_it_running(bench: Bench) -> None:
    handle = await bench.start(bench.spec(SLEEP_A_SECOND))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(bench.provider.wait(handle), 0.2)
    assert [found.running for found in await bench.provider.containers(bench.node)] == [True]
    ended = await asyncio.wait_for(bench.provider.wait(handle), WAIT_S)
    assert (ended.exit_code, ended.reason) == (0, ExitReason.EXITED)


async def test_stop_asks_first(bench: Bench) -> None:
    handle = await bench.start(bench.spec(SLEEP))
    begun = asyncio.get_running_loop().time()
    await asyncio.wait_for(bench.provider.stop(handle, grace_s=30), WAIT_S)
    assert asyncio.get_running_loop().time() - begun < 10
    ended = await bench.provider.wait(handle)
    assert (ended.exit_code, ended.reason) == (143, ExitReason.STOPPED)


async def test_stop_kills_what_does_not_listen(bench: Bench) -> None:
    spec = bench.spec(DEAF)
    handle = await bench.start(spec)
    await until_logged(spec, b"deaf")
    await asyncio.wait_for(bench.provider.stop(handle, grace_s=0.5), WAIT_S)
    ended = await bench.provider.wait(handle)
    assert (ended.exit_code, ended.reason) == (137, ExitReason.STOPPED)


async def test_stop_and_remove_may_be_repeated(bench: Bench) -> None:
    handle = await bench.start(bench.spec(SLEEP))
    for _ in range(2):
        await bench.provider.stop(handle, grace_s=5)
    for _ in range(2):
        await bench.provider.remove(handle)
    await bench.provider.stop(handle, grace_s=5)
    assert list(await bench.provider.containers(bench.node)) == []
    with pytest.raises(PermanentError, match="gone"):
        await bench.provider.wait(handle)


async def test_remove_ends_a_running_one(bench: Bench) -> None:
    handle = await bench.start(bench.spec(DEAF))
    await asyncio.wait_for(bench.provider.remove(handle), WAIT_S)
    assert list(await bench.provider.containers(bench.node)) == []


async def test_a_stop_after_the_end_changes_nothing(bench: Bench) -> None:
    handle = await bench.start(bench.spec(EXIT_7))
    first = await bench.provider.wait(handle)
    await bench.provider.stop(handle, grace_s=1)
    assert await bench.provider.wait(handle) == first


async def test_start_twice_gives_the_first_handle(bench: Bench) -> None:
    spec = bench.spec(COUNT_SLOWLY)
    first, second = await asyncio.gather(bench.start(spec), bench.provider.start(spec))
    third = await bench.provider.start(spec)
    assert first.id == second.id == third.id
    assert len(await bench.provider.containers(bench.node)) == 1
    assert (await asyncio.wait_for(bench.provider.wait(third), WAIT_S)).exit_code == 0
    assert spec.log_path.read_text().count("line 1\n") == 1


async def test_start_again_after_the_end_does_not_run_it_again(bench: Bench) -> None:
    spec = bench.spec(EXIT_7)
    await bench.provider.wait(await bench.start(spec))
    again = await bench.provider.start(spec)
    assert not again.running
    assert (await bench.provider.wait(again)).exit_code == 7


async def test_a_fresh_provider_finds_it_and_loses_no_output(bench: Bench) -> None:
    spec = bench.spec(COUNT_SLOWLY)
    spec.log_path.write_text("what an earlier operation said\n")
    handle = await bench.start(spec)
    await until_logged(spec, b"line 1\n")
    provider = await bench.reopen()
    (found,) = await provider.containers(bench.node)
    assert replace(found, running=True) == replace(handle, running=True)
    assert (await asyncio.wait_for(provider.wait(found), WAIT_S)).exit_code == 0
    expected = "what an earlier operation said\n" + "".join(f"line {i}\n" for i in range(1, 21))
    assert spec.log_path.read_text() == expected


async def test_a_fresh_provider_sees_how_it_ended_meanwhile(bench: Bench) -> None:
    spec = bench.spec(EXIT_7)
    handle = await bench.start(spec)
    first = await bench.provider.wait(handle)
    provider = await bench.reopen()
    assert [found.running for found in await provider.containers(bench.node)] == [False]
    assert await provider.wait(handle) == first
    assert (await provider.start(spec)).id == handle.id


async def test_a_fresh_provider_can_stop_and_remove(bench: Bench) -> None:
    handle = await bench.start(bench.spec(SLEEP))
    provider = await bench.reopen()
    await asyncio.wait_for(provider.stop(handle, grace_s=5), WAIT_S)
    assert (await provider.wait(handle)).reason is ExitReason.STOPPED
    provider = await bench.reopen()
    await provider.remove(handle)
    assert list(await provider.containers(bench.node)) == []


async def test_only_its_own_node_is_seen_and_touched(bench: Bench) -> None:
    handle = await bench.start(bench.spec(SLEEP))
    other = replace(handle, node="node-of-someone-else")
    provider = await bench.reopen()
    assert list(await provider.containers(other.node)) == []
    for attempt in (provider.remove(other), provider.stop(other, grace_s=0)):
        with pytest.raises(PermanentError):
            await attempt
    assert [found.running for found in await provider.containers(bench.node)] == [True]


async def test_eight_at_once(bench: Bench) -> None:
    specs = [bench.spec(SPEAK) for _ in range(8)]
    handles = await asyncio.gather(*(bench.start(spec) for spec in specs))
    ends = await asyncio.wait_for(asyncio.gather(*(bench.provider.wait(h) for h in handles)), 60)
    assert [ended.exit_code for ended in ends] == [0] * 8
    assert all(spec.log_path.stat().st_size == 20 for spec in specs)


async def test_many_waits_do_not_hold_up_a_start(bench: Bench) -> None:
    sleepers = [await bench.start(bench.spec(SLEEP)) for _ in range(4)]
    waits = [asyncio.create_task(bench.provider.wait(sleeper)) for sleeper in sleepers for _ in range(8)]
    handle = await asyncio.wait_for(bench.start(bench.spec(SUCCEED)), WAIT_S)
    assert (await asyncio.wait_for(bench.provider.wait(handle), WAIT_S)).exit_code == 0
    assert not any(wait.done() for wait in waits)
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


async def test_the_engine_says_its_version(bench: Bench) -> None:
    assert (await bench.provider.check()).startswith(bench.provider.name)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"command": ()}, StartFailed),
        ({"command": ("/bin/sh", "-c", "nul\0byte")}, StartFailed),
        ({"workdir": "/etc"}, StartFailed),
        ({"workdir": "/workspace/../etc"}, StartFailed),
        ({"env": {"A=B": "c"}}, StartFailed),
        ({"env": {"A": "x" * 200_000}}, StartFailed),
        ({"job": "no label/"}, ConfigError),
        ({"limits": replace(LIMITS, pids=0)}, ConfigError),
        ({"gpus": ("all",)}, ConfigError),
    ],
)
async def test_what_can_not_be_run_is_said_before_anything_is_made(
    bench: Bench, changes: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await bench.start(bench.spec(SUCCEED, **changes))
    assert list(await bench.provider.containers(bench.node)) == []


async def test_a_gpu_on_a_machine_without_one_is_said(bench: Bench) -> None:
    if bench.provider.capabilities.gpus:
        pytest.skip("this provider has GPUs")
    spec = bench.spec(SUCCEED, gpus=("GPU-00000000-1111-2222-3333-444444444444",))
    with pytest.raises(ConfigError, match="GPU"):
        await bench.start(spec)
    assert list(await bench.provider.containers(bench.node)) == []


@pytest.mark.parametrize("name", ["", "UPPER/case", "a b", "-x", "x:y:z", "../../etc", "x" * 400, "a@sha256:12"])
async def test_image_names_are_checked(bench: Bench, name: str) -> None:
    if not bench.provider.capabilities.images:
        pytest.skip("this provider has no images")
    with pytest.raises(ImageUnavailable):
        await bench.provider.prepare(name, timeout_s=5)


async def test_an_image_that_is_here_is_pinned(bench: Bench) -> None:
    if not bench.provider.capabilities.images:
        pytest.skip("this provider has no images")
    assert bench.harness.image is not None
    assert await bench.provider.has_image(bench.harness.image)
    pinned = await bench.provider.prepare(bench.harness.image, timeout_s=5)
    assert "sha256:" in pinned
    assert await bench.provider.prepare(pinned, timeout_s=5) == pinned
    assert await bench.provider.has_image(pinned)
    assert not await bench.provider.has_image("missing/image:1")
