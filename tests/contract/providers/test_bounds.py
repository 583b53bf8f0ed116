"""Hostile and greedy jobs: every bound ends the run with its own reason, and the host stays as it was."""

from __future__ import annotations

import asyncio
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from hypernode_worker.core.ports import ExitReason
from hypernode_worker.errors import StartFailed
from hypernode_worker.providers.process_sandbox import JOB_ID
from tests.support.providers import (
    EAT_MEMORY,
    ENDLESS_LINE,
    ENDLESS_LINES,
    FILL_MANY_FILES,
    FILL_ONE_FILE,
    LIMITS,
    MIB,
    Bench,
    Program,
    until_logged,
)

WAIT_S = 40


def real_only(bench: Bench) -> None:
    if bench.harness.kind == "mock":
        pytest.skip("the mock runs no program")


async def said(bench: Bench, script: str, **changes: object) -> str:
    """What a script says; it must exit with 0."""
    spec = bench.spec(Program(script), **changes)
    ended = await asyncio.wait_for(bench.provider.wait(await bench.start(spec)), WAIT_S)
    text = spec.log_path.read_text()
    assert ended.exit_code == 0, text
    return text


@pytest.mark.parametrize("program", [ENDLESS_LINES, ENDLESS_LINE])
async def test_endless_output_ends_the_run(bench: Bench, program: Program) -> None:
    spec = bench.spec(program)
    ended = await asyncio.wait_for(bench.provider.wait(await bench.start(spec)), WAIT_S)
    assert (ended.exit_code, ended.reason) == (137, ExitReason.LOG_LIMIT)
    assert spec.log_path.stat().st_size == spec.limits.log_bytes


async def test_endless_output_is_known_to_a_fresh_provider(bench: Bench) -> None:
    spec = bench.spec(ENDLESS_LINES)
    handle = await bench.start(spec)
    await asyncio.wait_for(bench.provider.wait(handle), WAIT_S)
    provider = await bench.reopen()
    assert (await asyncio.wait_for(provider.wait(handle), WAIT_S)).reason is ExitReason.LOG_LIMIT
    assert spec.log_path.stat().st_size == spec.limits.log_bytes


async def test_too_much_memory(bench: Bench) -> None:
    ended = await asyncio.wait_for(bench.provider.wait(await bench.start(bench.spec(EAT_MEMORY))), WAIT_S)
    assert (ended.exit_code, ended.reason) == (137, ExitReason.OUT_OF_MEMORY)


async def test_too_much_memory_in_many_processes(bench: Bench) -> None:
    real_only(bench)
    spec = bench.spec(Program("for i in 1 2 3 4 5 6; do tail /dev/zero & done; wait; sleep 5; exit 9"))
    ended = await asyncio.wait_for(bench.provider.wait(await bench.start(spec)), WAIT_S)
    assert ended.reason is ExitReason.OUT_OF_MEMORY


@pytest.mark.parametrize("program", [FILL_ONE_FILE, FILL_MANY_FILES])
async def test_a_full_workspace(bench: Bench, program: Program) -> None:
    spec = bench.spec(program)
    ended = await asyncio.wait_for(bench.provider.wait(await bench.start(spec)), WAIT_S)
    assert ended.reason is ExitReason.WORKSPACE_FULL
    if program is FILL_ONE_FILE and bench.harness.kind != "mock":
        assert (spec.workspace / "big").stat().st_size <= spec.limits.workspace_bytes


async def test_a_sparse_file_counts_whole(bench: Bench) -> None:
    real_only(bench)
    spec = bench.spec(Program("for i in 1 2 3 4; do dd if=/dev/zero of=f$i bs=1 count=1 seek=8000000; done; sleep 60"))
    ended = await asyncio.wait_for(bench.provider.wait(await bench.start(spec)), WAIT_S)
    assert ended.reason is ExitReason.WORKSPACE_FULL


async def test_too_many_files(bench: Bench) -> None:
    real_only(bench)
    spec = bench.spec(Program("i=0; while :; do i=$((i+1)); : > f$i; done"))
    ended = await asyncio.wait_for(bench.provider.wait(await bench.start(spec)), WAIT_S)
    assert ended.reason is ExitReason.WORKSPACE_FULL


async def test_too_deep_folders(bench: Bench) -> None:
    real_only(bench)
    spec = bench.spec(Program("i=0; while [ $i -lt 300 ]; do i=$((i+1)); mkdir d; cd d; done"))
    ended = await asyncio.wait_for(bench.provider.wait(await bench.start(spec)), WAIT_S)
    assert ended.reason is ExitReason.WORKSPACE_FULL


def others_files_are_seen() -> bool:
    """Whether this machine lets us look at the open files of another user: a container without SYS_PTRACE doesn't."""
    if os.geteuid() != 0:
        return True
    with subprocess.Popen(["sleep", "10"], user=JOB_ID, group=JOB_ID) as other:
        try:
            Path(f"/proc/{other.pid}/fd/1").stat()
        except PermissionError:
            return False
        finally:
            other.kill()
    return True


async def test_deleted_files_that_are_open_count(bench: Bench) -> None:
    real_only(bench)
    if bench.harness.kind == "unisolated" and not others_files_are_seen():
        pytest.skip("this machine hides other users' open files (no SYS_PTRACE)")
    one = "exec {n}> d{n}; rm d{n}; dd if=/dev/zero bs=65536 count=100 >&{n} 2>/dev/null; "
    script = "".join(one.format(n=n) for n in (3, 4, 5, 6)) + "sleep 60"
    ended = await asyncio.wait_for(bench.provider.wait(await bench.start(bench.spec(Program(script)))), WAIT_S)
    assert ended.reason is ExitReason.WORKSPACE_FULL


async def test_hidden_folders_count(bench: Bench) -> None:
    real_only(bench)
    script = "mkdir h; for i in 1 2 3; do dd if=/dev/zero of=h/f$i bs=65536 count=100; done; chmod 000 h; sleep 60"
    ended = await asyncio.wait_for(bench.provider.wait(await bench.start(bench.spec(Program(script)))), WAIT_S)
    assert ended.reason is ExitReason.WORKSPACE_FULL


async def test_the_number_of_processes_is_bounded(bench: Bench) -> None:
    real_only(bench)
    if not bench.provider.capabilities.pids_limit:
        pytest.skip("this provider can't bound processes")
    script = "for i in $(seq 1 100); do (sleep 3; echo one) & done; wait"
    spec = bench.spec(Program(script), limits=replace(LIMITS, pids=20))
    await asyncio.wait_for(bench.provider.wait(await bench.start(spec)), WAIT_S)
    assert spec.log_path.read_text().splitlines().count("one") <= 20


async def test_a_fork_bomb_can_be_stopped(bench: Bench) -> None:
    real_only(bench)
    spec = bench.spec(Program("echo begun; bomb() { bomb | bomb & }; bomb; while :; do sleep 1; done"))
    handle = await bench.start(spec)
    await until_logged(spec, b"begun")
    await asyncio.sleep(0.5)
    await asyncio.wait_for(bench.provider.stop(handle, grace_s=0.5), WAIT_S)
    assert (await bench.provider.wait(handle)).reason is not ExitReason.EXITED


async def test_orphans_end_with_the_run(bench: Bench) -> None:
    real_only(bench)
    spec = bench.spec(Program("(trap '' TERM HUP; sleep 31.4159) & (setsid sleep 31.4159) & exit 3"))
    ended = await asyncio.wait_for(bench.provider.wait(await bench.start(spec)), WAIT_S)
    assert ended.exit_code == 3
    assert not [process for process in psutil.process_iter(["cmdline"]) if "31.4159" in (process.info["cmdline"] or [])]


async def test_a_command_that_is_not_there(bench: Bench) -> None:
    real_only(bench)
    spec = bench.spec(("/no/such/program",))
    try:
        ended = await asyncio.wait_for(bench.provider.wait(await bench.start(spec)), WAIT_S)
    except StartFailed:
        return
    assert ended.exit_code == 127
    assert "/no/such/program" in spec.log_path.read_text()


async def test_environment_and_workdir(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    real_only(bench)
    monkeypatch.setenv("HYPERNODE_TEST_SECRET", "must not be seen")
    spec = bench.spec(
        Program("pwd; env; echo x > here; mkdir -p $OUTPUT_DIR; echo y > $OUTPUT_DIR/there"),
        workdir="/workspace/a/b",
        env={"GREETING": "hello $HOME", "OUTPUT_DIR": "/workspace/output"},
    )
    ended = await asyncio.wait_for(bench.provider.wait(await bench.start(spec)), WAIT_S)
    text = spec.log_path.read_text()
    assert ended.exit_code == 0, text
    # Without a boundary there is no /workspace: the same folder has its host's name.
    seen_as = "/workspace" if bench.harness.kind != "unisolated" else str(spec.workspace)
    assert text.splitlines()[0] == f"{seen_as}/a/b"
    assert "GREETING=hello $HOME" in text.splitlines()
    assert f"HOME={seen_as}" in text.splitlines()
    assert (spec.workspace / "a/b/here").exists()
    assert (spec.workspace / "output/there").exists()
    assert "HYPERNODE_TEST_SECRET" not in text


async def test_a_planted_link_is_no_workdir(bench: Bench, tmp_path: Path) -> None:
    real_only(bench)
    spec = bench.spec(Program("true"), workdir="/workspace/link/new")
    (spec.workspace / "link").symlink_to(tmp_path)
    with pytest.raises(StartFailed, match="workdir"):
        await bench.start(spec)
    assert not (tmp_path / "new").exists()


async def test_nothing_can_be_written_outside(bench: Bench) -> None:
    real_only(bench)
    if not bench.provider.capabilities.isolation and not bench.provider.capabilities.network_isolation:
        pytest.skip("this provider has no boundary")
    for path in ("/x", "/etc/x", "/usr/x", "/bin/x", "/var/x", "/root/x", "/home/x", "/etc/hosts", "/sys/x", "/proc/x"):
        assert "refused" in await said(bench, f"(echo x >> {path}) 2>/dev/null || echo refused")
    assert "fine" in await said(bench, "echo x > /tmp/x && echo x > /workspace/x && echo fine")


async def test_the_host_can_not_be_seen(bench: Bench, tmp_path: Path) -> None:
    real_only(bench)
    if not bench.provider.capabilities.network_isolation:
        pytest.skip("this provider has no boundary")
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    paths = f"{secret} /var/run/docker.sock /run/docker.sock /root /home/*"
    script = f"for f in {paths}; do ls -A $f 2>/dev/null; done; echo done"
    assert (await said(bench, script)).splitlines() == ["done"]
    others = await said(bench, "for p in /proc/[0-9]*; do cat $p/cmdline; done")
    assert "pytest" not in others


async def test_no_rights(bench: Bench) -> None:
    real_only(bench)
    text = await said(bench, "id -u; cat /proc/self/status")
    values = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    assert int(text.splitlines()[0]) != 0
    assert int(values["CapEff"], 16) == int(values["CapPrm"], 16) == int(values["CapInh"], 16) == 0
    assert int(values["NoNewPrivs"]) == 1
    if bench.provider.capabilities.isolation:
        assert int(values["CapBnd"], 16) == 0


async def test_no_network_unless_asked_for(bench: Bench) -> None:
    real_only(bench)
    if not bench.provider.capabilities.network_isolation:
        pytest.skip("this provider can't take the network away")
    text = await said(bench, "cat /proc/net/dev")
    assert [line.split(":")[0].strip() for line in text.splitlines() if ":" in line] == ["lo"]


async def test_the_temporary_folder_is_bounded(bench: Bench) -> None:
    real_only(bench)
    if not bench.provider.capabilities.network_isolation:
        pytest.skip("this provider shares the host's folder")
    text = await said(bench, "dd if=/dev/zero of=/tmp/big bs=1048576 count=60 2>&1 || true; wc -c < /tmp/big")
    assert int(text.split()[-1]) <= LIMITS.memory_bytes // 2 + MIB
