"""What the conformance suite of providers needs: harnesses, programs that mean the same everywhere, and leak checks."""

from __future__ import annotations

import asyncio
import io
import math
import shutil
import subprocess
import tarfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from hypernode_worker.core.ports import Container, ContainerProvider, ContainerSpec, Limits
from hypernode_worker.providers.mock import MockRun

MIB = 1024 * 1024
IMAGE = "hypernode-test/busybox:1"
LIMITS = Limits(memory_bytes=64 * MIB, cpus=1.0, pids=32, log_bytes=MIB, workspace_bytes=16 * MIB)


@dataclass(frozen=True, slots=True)
class Program:
    """A shell script, and what the mock does in its place."""

    script: str
    mock: MockRun = field(default_factory=MockRun)


SUCCEED = Program("true")
EXIT_7 = Program("exit 7", MockRun(exit_code=7))
KILLED_BY_SEGV = Program("kill -SEGV $$", MockRun(exit_code=139))
SPEAK = Program("echo to stdout; echo to stderr >&2", MockRun(output=b"to stdout\nto stderr\n"))
NO_NEWLINE = Program("printf abc", MockRun(output=b"abc"))
COUNT = Program(
    "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo line $i; done",
    MockRun(output="".join(f"line {i}\n" for i in range(1, 2001)).encode()),
)
COUNT_SLOWLY = Program(
    "i=0; while [ $i -lt 20 ]; do i=$((i+1)); echo line $i; sleep 0.1; done",
    MockRun(seconds=2, output="".join(f"line {i}\n" for i in range(1, 21)).encode()),
)
ENDLESS_LINES = Program("yes a line that never ends", MockRun(math.inf, output=b"a line\n" * 200_000))
ENDLESS_LINE = Program("tr '\\0' x < /dev/zero", MockRun(math.inf, output=b"x" * (2 * MIB)))
SLEEP = Program("echo asleep; exec sleep 600", MockRun(math.inf, output=b"asleep\n"))
SLEEP_A_SECOND = Program("sleep 1", MockRun(1.0))
DEAF = Program(
    "trap '' TERM; echo deaf; while :; do sleep 0.2; done", MockRun(math.inf, output=b"deaf\n", ignores_term=True)
)
SILENT_BUT_ALIVE = Program("exec >&- 2>&-; sleep 1; exit 4", MockRun(1.0, exit_code=4))
WRITE_FILES = Program(
    "mkdir -p out/deep && cat given > out/deep/result && ln -s /etc/passwd out/link && chmod 700 out/deep",
    MockRun(files={"out/deep/result": b"given content"}),
)
EAT_MEMORY = Program("tail /dev/zero", MockRun(math.inf, memory_bytes=10**12))
FILL_ONE_FILE = Program("dd if=/dev/zero of=big bs=65536 count=4096", MockRun(files={"big": b"x" * 17 * MIB}))
FILL_MANY_FILES = Program(
    "i=0; while :; do i=$((i+1)); dd if=/dev/zero of=f$i bs=65536 count=16 2>/dev/null; done",
    MockRun(files={"f1": b"x" * 9 * MIB, "f2": b"x" * 9 * MIB}),
)


async def until_logged(spec: ContainerSpec, text: bytes) -> None:
    """Returns once the run has said this."""
    async with asyncio.timeout(20):
        while not spec.log_path.exists() or text not in spec.log_path.read_bytes():  # noqa: ASYNC110 -- a file
            await asyncio.sleep(0.05)


class Harness(Protocol):
    """How the suite opens one kind of provider again and again over the same engine."""

    kind: str
    image: str | None

    def open(self) -> ContainerProvider: ...

    def leftovers(self, node: str) -> list[str]:
        """What of a node is left: containers, processes, folders."""
        ...


def script_of(spec: ContainerSpec, programs: Mapping[str, MockRun]) -> MockRun:
    """The mock's behaviour for a spec whose command is one of the programs."""
    return programs.get(spec.command[-1], MockRun())


PROGRAMS: Mapping[str, MockRun] = {p.script: p.mock for p in list(globals().values()) if isinstance(p, Program)}


@dataclass(slots=True)
class Bench:
    """One test's node, folders and handles."""

    harness: Harness
    provider: ContainerProvider
    folder: Path
    node: str = field(default_factory=lambda: f"node-{uuid.uuid4().hex[:12]}")
    image: str | None = None
    made: list[Container] = field(default_factory=list[Container])
    extra: list[ContainerProvider] = field(default_factory=list[ContainerProvider])

    def spec(self, program: Program | tuple[str, ...], **changes: object) -> ContainerSpec:
        """A spec of this test: each one a run of its own unless told otherwise."""
        run = str(changes.pop("run", uuid.uuid4().hex[:8]))
        folder = self.folder / run
        (folder / "workspace").mkdir(parents=True, exist_ok=True)
        command = ("/bin/sh", "-c", program.script) if isinstance(program, Program) else program
        values: dict[str, object] = {
            "job": "job-1",
            "node": self.node,
            "run": run,
            "operation": 0,
            "image": self.image,
            "command": command,
            "workdir": "/workspace",
            "workspace": folder / "workspace",
            "log_path": folder / "log",
            "limits": LIMITS,
        }
        return ContainerSpec(**(values | changes))  # pyright: ignore[reportArgumentType]

    async def start(self, spec: ContainerSpec) -> Container:
        handle = await self.provider.start(spec)
        self.made.append(handle)
        return handle

    async def reopen(self) -> ContainerProvider:
        """Drops the provider as a stopped worker does, and opens a fresh one."""
        await self.provider.close()
        self.provider = self.harness.open()
        return self.provider


def import_busybox(name: str = IMAGE) -> None:
    """Makes the 2 MB test image from the machine's static busybox unless it is there; nothing is pulled."""
    if subprocess.run(["docker", "image", "inspect", name], capture_output=True).returncode == 0:
        return
    busybox = shutil.which("busybox")
    if busybox is None:
        raise FileNotFoundError("busybox is not on PATH: apt-get install busybox-static")
    subprocess.run(["docker", "import", "-", name], input=_busybox_tar(Path(busybox)), check=True, capture_output=True)


def _busybox_tar(busybox: Path) -> bytes:
    applets = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in ("bin", "etc", "tmp", "proc", "sys", "dev", "workspace"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        program = tarfile.TarInfo("bin/busybox")
        program.mode, program.size = 0o755, busybox.stat().st_size
        with busybox.open("rb") as file:
            tar.addfile(program, file)
        for applet in applets:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            if applet != "busybox":
                tar.addfile(link)
    return buffer.getvalue()


def docker_leftovers(node: str) -> list[str]:
    listed = subprocess.run(
        ["docker", "ps", "-aq", "--filter", f"label=hypernode.node={node}"], check=True, capture_output=True, text=True
    )
    return listed.stdout.split()
