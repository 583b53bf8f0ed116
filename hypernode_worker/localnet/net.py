"""The localnet: a chain that runs, served on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web
from solders.pubkey import Pubkey

from hypernode_worker.errors import ConfigError
from hypernode_worker.localnet.bank import DEFAULT_FAUCET_LAMPORTS, DEFAULT_SLOT_MS, Bank
from hypernode_worker.localnet.rpc.dispatcher import Rpc
from hypernode_worker.localnet.server import Server
from hypernode_worker.localnet.store import StateStore
from hypernode_worker.localnet.subscriptions import Subscriptions

_log = logging.getLogger(__name__)

DEFAULT_PORT = 8899
_SAVE_DELAY_S = 0.2
_SAVE_RETRY_S = 5.0
_PORT_TRIES = 50
_SHUTDOWN_S = 1.0


@dataclass(frozen=True, slots=True)
class LocalnetConfig:
    """How a localnet is to run.

    Attributes:
        host: the address to bind; anything but loopback lets the whole network in.
        port: JSON-RPC, and PubSub by upgrade; 0: any free one whose next port is free too.
        ws_port: PubSub alone, as clients expect it; None: the port after `port`; 0: any free one.
        programs: ELF bytes, or the path of a .so file, by address.
        state_dir: where the chain is kept across restarts; None: in memory only.
        slot_ms: the length of a slot in milliseconds.
        faucet_lamports: what the faucet has at genesis.
        airdrop_cap_lamports: the most that one requestAirdrop gives; None: no cap.
        allowed_hosts: host names beside loopback that clients and web pages may use.
        history_limit: how many transactions are remembered.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    ws_port: int | None = None
    programs: Mapping[Pubkey, bytes | Path] = field(default_factory=dict[Pubkey, "bytes | Path"])
    state_dir: Path | None = None
    slot_ms: int = DEFAULT_SLOT_MS
    faucet_lamports: int = DEFAULT_FAUCET_LAMPORTS
    airdrop_cap_lamports: int | None = None
    allowed_hosts: tuple[str, ...] = ()
    history_limit: int = 10_000


class Localnet:
    """A running chain: `async with Localnet(config) as net`. Slots advance while it is open.

    Raises (on entry):
        ConfigError: a port is taken, a program can't be loaded, the state folder can't be used or is damaged.
    """

    def __init__(self, config: LocalnetConfig | None = None) -> None:
        self.config = config or LocalnetConfig()
        self._stack = contextlib.AsyncExitStack()
        self._bank: Bank | None = None
        self._subscriptions: Subscriptions | None = None
        self._port = 0
        self._ws_port = 0

    @property
    def bank(self) -> Bank:
        """The chain. Use it from the event loop's thread only."""
        if self._bank is None:
            raise RuntimeError("the localnet isn't running: enter it with `async with`")
        return self._bank

    @property
    def subscription_count(self) -> int:
        """PubSub subscriptions of all clients."""
        return 0 if self._subscriptions is None else len(self._subscriptions)

    @property
    def rpc_url(self) -> str:
        return f"http://{self._url_host()}:{self._port}"

    @property
    def ws_url(self) -> str:
        return f"ws://{self._url_host()}:{self._ws_port}"

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        config = self.config
        sockets = _bind(config.host, config.port, config.ws_port)
        for bound in sockets:
            self._stack.callback(bound.close)
        self._port, self._ws_port = (bound.getsockname()[1] for bound in sockets)
        store = None
        if config.state_dir is not None:
            store = StateStore(config.state_dir, history_limit=config.history_limit)
            self._stack.callback(store.close)
        self._bank = bank = Bank(
            programs={address: _elf(address, program) for address, program in config.programs.items()},
            unix_time=time.time(),
            slot_ms=config.slot_ms,
            faucet_lamports=config.faucet_lamports,
            history_limit=config.history_limit,
            restored=store.load() if store is not None else None,
        )
        if store is not None:
            store.attach(bank)
            await self._run(_save(store), "localnet-save")
        await self._run(_tick(bank, config.slot_ms / 1000), "localnet-slots")
        await self._serve(bank, sockets)

    async def _serve(self, bank: Bank, sockets: tuple[socket.socket, socket.socket]) -> None:
        self._subscriptions = subscriptions = Subscriptions(bank)
        rpc = Rpc(bank, airdrop_cap_lamports=self.config.airdrop_cap_lamports)
        allowed = (*self.config.allowed_hosts, *_own_names(self.config.host))
        server = Server(rpc, subscriptions, allowed)
        runner = web.ServerRunner(web.Server(server.handle, access_log=None), shutdown_timeout=_SHUTDOWN_S)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        self._stack.push_async_callback(server.close)
        for bound in sockets:
            await web.SockSite(runner, bound).start()

    async def _run(self, loop: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(loop, name=name)

        async def stop() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self._stack.push_async_callback(stop)

    def _url_host(self) -> str:
        host = self.config.host
        if host in ("0.0.0.0", "::", ""):  # noqa: S104  it is only compared
            host = "127.0.0.1"
        return f"[{host}]" if ":" in host else host


async def _tick(bank: Bank, slot_s: float) -> None:
    """Advances the slots with the event loop's time and the chain's time with the wall's."""
    loop = asyncio.get_running_loop()
    started, done = loop.time(), 0
    while True:
        await asyncio.sleep(max(0.0, started + (done + 1) * slot_s - loop.time()))
        due = int((loop.time() - started) / slot_s + 1e-6) - done
        if due > 0:
            bank.advance(due, time.time() - bank.unix_seconds)
            done += due


async def _save(store: StateStore) -> None:
    """Writes what changed, a moment after it did."""
    while True:
        await asyncio.sleep(_SAVE_DELAY_S)
        if not store.is_dirty:
            continue
        batch = store.take()
        # Shielded: a batch that is being written when the localnet stops must be finished before the last one.
        writing = asyncio.ensure_future(asyncio.to_thread(store.write, batch))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.gather(writing, return_exceptions=True)
            if writing.exception() is not None:
                store.give_back(batch)
            raise
        except ConfigError as error:
            store.give_back(batch)
            _log.error("%s", error)
            await asyncio.sleep(_SAVE_RETRY_S)


def _elf(address: Pubkey, program: bytes | Path) -> bytes:
    if isinstance(program, bytes):
        return program
    try:
        return program.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"The program for {address} can't be read from {program}: {error.strerror}. Build it, or give another path."
        ) from error


def _own_names(host: str) -> tuple[str, ...]:
    """The names under which a host that was chosen on purpose is addressed: itself, unless it means all."""
    try:
        return () if ipaddress.ip_address(host).is_unspecified else (host,)
    except ValueError:
        return (host,)


def _bind(host: str, port: int, ws_port: int | None) -> tuple[socket.socket, socket.socket]:
    """Binds both ports, so that nobody takes one between choosing and serving."""
    for _ in range(_PORT_TRIES):
        first = _listen(host, port)
        chosen = first.getsockname()[1]
        if ws_port is None and port == 0 and chosen == 65_535:
            first.close()
            continue
        try:
            return first, _listen(host, chosen + 1 if ws_port is None else ws_port)
        except ConfigError:
            first.close()
            if port != 0 or ws_port is not None:
                raise
    raise ConfigError(f"No two free ports in a row were found on {host}: give --port.")


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=256)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"Port {port} on {host} can't be served: {error}. Stop what uses it, or choose another port."
        ) from error
