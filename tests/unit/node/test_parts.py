"""Small parts of a worker: rests and backoffs, the chain's time, the folder of a run, what a node says that it is."""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
from solders.pubkey import Pubkey

from hypernode_worker.core.definition import JobDefinition
from hypernode_worker.core.ports import ChainTime, Gpu, HostSpecs
from hypernode_worker.core.types import Slot, UnixTime
from hypernode_worker.errors import ContentInvalid, RateLimited
from hypernode_worker.node.backoff import Backoff
from hypernode_worker.node.clocks import ChainClock
from hypernode_worker.node.memory import Resting
from hypernode_worker.node.run_folder import RunFolder, run_folders
from hypernode_worker.node.settings import WorkerSettings
from hypernode_worker.node.specs_handler import node_specs
from hypernode_worker.providers.mock import EVERYTHING
from tests.support.worker import DEFINITION, HOST, LIMITS


@pytest.mark.looptime
async def test_rests_grow_and_are_bounded() -> None:
    resting: Resting[int] = Resting(first_s=10, most_s=35, room=3)
    assert [resting.rest(1) for _ in range(4)] == [10, 20, 35, 35]
    await asyncio.sleep(34)
    assert resting.rests(1)
    await asyncio.sleep(2)
    assert not resting.rests(1)
    for key in range(2, 6):
        resting.rest(key)
    assert len(resting) == 3


def test_backoff_doubles_with_jitter_and_honours_what_was_asked() -> None:
    backoff = Backoff(first_s=1, most_s=8, random_source=random.Random(1))
    delays = [backoff.failed() for _ in range(6)]
    for delay, most in zip(delays, [1, 2, 4, 8, 8, 8], strict=True):
        assert most / 2 <= delay <= most
    assert backoff.failed(RateLimited("slow down", retry_after_s=60)) == 60
    backoff.succeeded()
    assert backoff.failed() <= 1


@pytest.mark.looptime
async def test_the_chains_time_is_carried_on_and_corrected() -> None:
    clock = ChainClock()
    clock.see(ChainTime(Slot(10), UnixTime(1000)))
    await asyncio.sleep(4)
    assert clock.now() == pytest.approx(1004)
    assert clock.slot() == 20
    clock.see_at_least(UnixTime(1001))
    assert clock.now() == pytest.approx(1004)
    clock.see_at_least(UnixTime(1010))
    assert clock.now() == pytest.approx(1010)


def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path, Pubkey.new_unique(), Slot(1))
    made.create()
    return made


def test_a_run_folder_is_the_users_own_and_made_anew(tmp_path: Path) -> None:
    run = folder(tmp_path)
    run.fill(JobDefinition.from_dict(DEFINITION))
    assert run.path.stat().st_mode & 0o077 == 0
    assert (run.workspace / "input.json").read_text() == "null"
    (run.workspace / "rest").write_text("of an earlier attempt")
    run.create()
    assert not run.workspace.exists()
    run.delete()
    run.delete()
    assert run_folders(tmp_path) == []


def test_files_in_the_way_are_named(tmp_path: Path) -> None:
    definition = JobDefinition.from_dict(
        {**DEFINITION, "files": "bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"}
    )
    run = folder(tmp_path)
    run.workspace.mkdir()
    (run.workspace / "output").write_text("a file")
    with pytest.raises(ContentInvalid, match="output"):
        run.fill(definition)
    run = folder(tmp_path)
    (run.workspace / "input.json").mkdir(parents=True)
    with pytest.raises(ContentInvalid, match=r"input\.json"):
        run.fill(definition)


def test_hostile_output_is_collected_and_deleted(tmp_path: Path) -> None:
    run = folder(tmp_path)
    run.fill(JobDefinition.from_dict(DEFINITION))
    (run.output / "good").write_text("good")
    (run.output / "dir").mkdir()
    (run.output / "dir" / "link").symlink_to("/etc")
    os.mkfifo(run.output / "fifo")
    os.close(os.open(os.fsencode(run.output) + b"/\xff", os.O_CREAT | os.O_WRONLY))
    (run.output / "closed").mkdir()
    (run.output / "closed" / "hidden").write_text("hidden")
    (run.output / "closed").chmod(0)
    assert run.collect_output() == 3
    assert run.collect_output() == 0
    assert sorted(p.name for p in (run.result / "output").rglob("*")) == ["closed", "dir", "good", "hidden"]
    run.delete()
    assert run_folders(tmp_path) == []


def gpu(index: int, vendor: str, gib: int) -> Gpu:
    return Gpu(index, f"GPU-{index}", vendor, "name", gib << 30, "1")


def test_what_a_node_says_that_it_is(tmp_path: Path) -> None:
    settings = WorkerSettings(Pubkey.new_unique(), tmp_path, LIMITS, country="de")
    gpus = (gpu(0, "nvidia", 24), gpu(1, "nvidia", 16), gpu(2, "amd", 8))
    host = HostSpecs("c", 4, 8, 16 << 30, 100 << 30, "Linux", "6", "x86_64", gpus)
    specs = node_specs(host, EVERYTHING, settings)
    assert (specs.gpu_count, specs.gpu_vendor, specs.vram_mb) == (0, 0, 0)
    able = replace(EVERYTHING, gpus=True)
    specs = node_specs(host, able, settings)
    assert (specs.gpu_count, specs.gpu_vendor, specs.vram_mb) == (2, 1, 16 << 10)
    assert (specs.country, specs.isolation, specs.ram_mb, specs.frameworks) == (b"DE", 1, 16 << 10, 0b11111)
    weak = replace(EVERYTHING, images=False, isolation=False)
    specs = node_specs(HOST, weak, settings)
    assert (specs.isolation, specs.frameworks) == (0, 1)
