"""The layers that a worker stands on, each checked by using it. `test` prints what is found here."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hypernode_worker.cli.findings import Finding, Skip
from hypernode_worker.core.amounts import sol
from hypernode_worker.errors import (
    ConfigError,
    HypernodeError,
    ImageUnavailable,
    InsufficientFunds,
    PermanentError,
    ProviderDown,
)

if TYPE_CHECKING:
    from hypernode_worker.config import Loaded
    from hypernode_worker.core.ports import ContainerProvider, ContainerSpec, HostSpecs
    from hypernode_worker.solana.client import SolanaClient

SMALL_IMAGE = "busybox:stable"
LEAST_LAMPORTS = 1_000_000
"""What begin, finish or release of one job may take, with room for priority."""
IMAGE_TIMEOUT_S = 120.0
RUN_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Check:
    """One layer; `needs` are those without which it can't be looked at."""

    name: str
    needs: tuple[str, ...]
    look: Callable[[Checkup], Awaitable[str]]


class Checkup:
    """Runs checks in order over shared connections. Use with `async with`."""

    def __init__(self, load: Callable[[], Loaded]) -> None:
        self._load = load
        self._stack = AsyncExitStack()
        self._chain: SolanaClient | None = None
        self._provider: ContainerProvider | None = None
        self.loaded: Loaded | None = None

    async def __aenter__(self) -> Checkup:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def run(self, only: Sequence[str] = ()) -> AsyncGenerator[Finding, None]:
        """Each finding as it is made; with `only`, those checks and what they need."""
        bad: set[str] = set()
        wanted = _with_needs(only) if only else {check.name for check in CHECKS}
        for check in CHECKS:
            if check.name not in wanted:
                continue
            if missing := bad.intersection(check.needs):
                bad.add(check.name)
                yield Finding(check.name, "skipped", f"needs {', '.join(sorted(missing))}, which failed")
                continue
            finding = await self._look(check)
            if finding.state == "failed":
                bad.add(check.name)
            yield finding

    async def _look(self, check: Check) -> Finding:
        try:
            return Finding(check.name, "ok", await check.look(self))
        except Skip as reason:
            return Finding(check.name, "skipped", str(reason))
        except HypernodeError as error:
            return Finding(check.name, "failed", str(error))

    # --- the checks ---

    async def configuration(self) -> str:
        self.loaded = self._load()
        files = sorted({origin for origin in self.loaded.origins.values() if "/" in origin})
        changed = f"{len(self.loaded.origins)} settings differ from their defaults"
        misspelt = f"; {self.loaded.warnings[0]}" if self.loaded.warnings else ""
        return f"{changed}{', files: ' + ', '.join(files) if files else ''}{misspelt}"

    async def key(self) -> str:
        from hypernode_worker.app import load_wallet

        settings = self._loaded().settings
        return f"{load_wallet(settings).pubkey()} in {settings.keypair_path}, readable by its owner alone"

    async def rpc(self) -> str:
        chain = await self._open_chain()
        identity = await chain.checks.identity()
        return f"{chain.health().endpoint} serves {identity.cluster}, version {identity.version}"

    async def program(self) -> str:
        found = await (await self._open_chain()).checks.program()
        what = "the program of this package" if found.is_packaged else "ANOTHER program or version than this package's"
        whose = "nobody can change it" if found.authority is None else f"{found.authority} can replace it"
        return f"{found.address} is {what}; {whose}"

    async def market(self) -> str:
        from hypernode_worker.app import open_store
        from hypernode_worker.cli.arguments import market_of
        from hypernode_worker.node.market_watch import why_not_pinned

        market = await (await self._open_chain()).market(market_of(self._loaded()))
        if market.paused:
            raise PermanentError(f"Market {market.address} is paused by its owner: wait, or choose another market.")
        async with open_store(self._loaded()) as store:
            unpinned = why_not_pinned(market, store.reach)
        if unpinned is not None:
            raise PermanentError(unpinned)
        paid_in = "SOL" if market.is_native else f"token {market.payment_mint}"
        return f"{market.address} pays at least {market.terms.min_price:,} base units a second in {paid_in}"

    async def stake(self) -> str:
        from hypernode_worker.app import load_wallet
        from hypernode_worker.cli.arguments import market_of
        from hypernode_worker.core.stake import counted_stake, required_stake, stake_missing

        chain = await self._open_chain()
        market = await chain.market(market_of(self._loaded()))
        if not required_stake(market.terms):
            return "this market asks for none"
        node = await chain.node_of(market.address, load_wallet(self._loaded().settings).pubkey())
        if missing := stake_missing(market, node):
            raise PermanentError(missing)
        return f"{counted_stake(node):,} base units of {market.stake_mint}, of {required_stake(market.terms):,} needed"

    async def balance(self) -> str:
        from hypernode_worker.app import load_wallet

        wallet = load_wallet(self._loaded().settings).pubkey()
        lamports = await (await self._open_chain()).balance(wallet)
        if lamports < LEAST_LAMPORTS:
            raise InsufficientFunds(
                f"The wallet {wallet} holds {sol(lamports)} SOL, too little for fees: send it at least 0.01 SOL "
                "('hypernode-worker key airdrop' where there is a faucet)."
            )
        return f"{sol(lamports)} SOL for fees"

    async def ipfs(self) -> str:
        from hypernode_worker.app import open_store

        async with open_store(self._loaded()) as store:
            return await store.check()

    async def container(self) -> str:
        provider = await self._open_provider()
        version = await provider.check()
        seen = await self._execute(provider, ("/bin/sh", "-c", "echo ready > answer"), ())
        if not seen:
            raise PermanentError(
                f"{version} ran a container, but its file didn't reach the workspace: check its mounts."
            )
        weak = "" if provider.capabilities.isolation else "; without isolation, so this node's trust is low"
        return f"{version} ran a container{weak}"

    async def gpu(self) -> str:
        host, why_none = await self._host()
        gpus = host.gpus
        if not gpus:
            raise Skip(f"no GPU was found ({why_none}); the node takes only jobs that need none")
        provider = await self._open_provider()
        names = ", ".join(gpu.name for gpu in gpus)
        if not provider.capabilities.gpus:
            raise Skip(f"{names}: found, but the {provider.name} runtime doesn't hand out GPUs")
        command = ("/bin/sh", "-c", "ls /dev/nvidiactl /dev/kfd 2>/dev/null > answer; test -s answer")
        if not await self._execute(provider, command, tuple(gpu.uuid for gpu in gpus)):
            raise PermanentError(
                f"A container doesn't see the GPUs ({names}): install nvidia-container-toolkit, run "
                "'sudo nvidia-ctk runtime configure --runtime=docker' and restart Docker."
            )
        return f"{names}: seen in a container"

    # --- what they share ---

    def _loaded(self) -> Loaded:
        assert self.loaded is not None
        return self.loaded

    async def _open_chain(self) -> SolanaClient:
        from hypernode_worker.app import open_chain

        if self._chain is None:
            self._chain = await self._stack.enter_async_context(open_chain(self._loaded(), signs=False))
        return self._chain

    async def _open_provider(self) -> ContainerProvider:
        from hypernode_worker.app import open_provider

        if self._provider is not None:
            return self._provider
        self._provider = await self._stack.enter_async_context(open_provider(self._loaded()))
        return self._provider

    async def _host(self) -> tuple[HostSpecs, str | None]:
        """The machine, and why no GPU was found on it."""
        from hypernode_worker.app import open_hardware

        async with open_hardware(self._loaded().settings) as hardware:
            return await hardware.specs(), hardware.no_gpu_reason

    async def _execute(self, provider: ContainerProvider, command: tuple[str, ...], gpus: tuple[str, ...]) -> bool:
        """Runs a command in a container of its own; whether it left the file 'answer'."""
        from hypernode_worker.app import job_limits
        from hypernode_worker.core.ports import ContainerSpec

        image = await self._image(provider)
        folder = self._loaded().settings.data_dir
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="check-", dir=folder) as scratch:
            workspace = Path(scratch) / "workspace"
            workspace.mkdir()
            spec = ContainerSpec(
                job="check",
                node=f"check-{os.getpid()}",
                run=f"{os.getpid()}-{len(gpus)}",
                operation=0,
                image=image,
                command=command,
                workdir="/workspace",
                workspace=workspace,
                log_path=Path(scratch) / "log",
                limits=job_limits(self._loaded().settings, (await self._host())[0]),
                gpus=gpus,
            )
            return await _run_once(provider, spec, workspace / "answer")

    async def _image(self, provider: ContainerProvider) -> str | None:
        if not provider.capabilities.images:
            return None
        own = list(self._loaded().settings.images.values())
        here = [image for image in (SMALL_IMAGE, "busybox:latest", *own) if await provider.has_image(image)]
        try:
            return await provider.prepare((here or [SMALL_IMAGE])[0], timeout_s=IMAGE_TIMEOUT_S)
        except (ImageUnavailable, ProviderDown) as error:
            raise PermanentError(
                f"The engine answers, but no small image could be had to try a container with ({error}): check the "
                f"network and run 'docker pull {SMALL_IMAGE}'."
            ) from error


async def _run_once(provider: ContainerProvider, spec: ContainerSpec, answer: Path) -> bool:
    import asyncio

    container = await provider.start(spec)
    try:
        async with asyncio.timeout(RUN_TIMEOUT_S):
            ended = await provider.wait(container)
    except TimeoutError:
        raise PermanentError(f"A container of {provider.name} didn't end within {RUN_TIMEOUT_S:g} s.") from None
    finally:
        await provider.remove(container)
    return ended.exit_code == 0 and await asyncio.to_thread(answer.is_file)


CHECKS = (
    Check("configuration", (), Checkup.configuration),
    Check("key", ("configuration",), Checkup.key),
    Check("rpc", ("configuration",), Checkup.rpc),
    Check("program", ("rpc",), Checkup.program),
    Check("market", ("program",), Checkup.market),
    Check("stake", ("key", "market"), Checkup.stake),
    Check("balance", ("key", "rpc"), Checkup.balance),
    Check("ipfs", ("configuration",), Checkup.ipfs),
    Check("container", ("configuration",), Checkup.container),
    Check("gpu", ("container",), Checkup.gpu),
)


def known(names: Sequence[str]) -> tuple[str, ...]:
    """The names, if they are checks. Raises ConfigError, which lists them."""
    all_ = [check.name for check in CHECKS]
    for name in names:
        if name not in all_:
            raise ConfigError(f"There is no check {name[:40]!r}; there are {', '.join(all_)}.")
    return tuple(names)


def _with_needs(names: Sequence[str]) -> set[str]:
    needs = {check.name: check.needs for check in CHECKS}
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(needs[name])
    return found
