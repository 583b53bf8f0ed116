"""Reads of the markets program, each verified: owner, discriminator, version, size and address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, JobState, Market, Node, QueuedJob
from hypernode_worker.core.ports import ChainTime
from hypernode_worker.core.types import Slot, UnixTime
from hypernode_worker.errors import AccountInvalid, AccountMissing
from hypernode_worker.solana.addresses import TOKEN_PROGRAM, token_address
from hypernode_worker.solana.program import MarketsProgram
from hypernode_worker.solana.records import QUEUED_BYTES, job_from, market_from, node_from, queued_from
from hypernode_worker.solana.rpc import AccountInfo, Rpc
from hypernode_worker.solana.transport import Json

T = TypeVar("T", Market, Node, Job)

CLOCK = Pubkey.from_string("SysvarC1ock11111111111111111111111111111111")
SYSVAR_OWNER = Pubkey.from_string("Sysvar1111111111111111111111111111111111111")
MARKET_BYTES, NODE_BYTES, JOB_BYTES = 320, 320, 768
TOKEN_ACCOUNT_BYTES = 165
QUEUE_MAX_BYTES = 16 << 20
"""Bound of a catch-up read: about 30,000 queued jobs of one market."""

_STATE_OFFSET, _MARKET_OFFSET, _CLIENT_OFFSET, _JOB_NODE_OFFSET = 15, 16, 48, 80
_BASE58 = "123456789ABCDEFGH"


def _at(offset: int, key: Pubkey) -> Json:
    return {"memcmp": {"offset": offset, "bytes": str(key), "encoding": "base58"}}


def queue_filters(market: Pubkey, state: JobState) -> list[Json]:
    """Jobs of a market in a state: the 33 bytes at offset 15, as two filters that need no base58 of our own.

    The size keeps nodes out, whose market key is at the same offset.
    """
    return [*in_state(state), *in_market(market)]


def in_market(market: Pubkey | None) -> list[Json]:
    """Jobs or nodes of a market; None: of any."""
    return [] if market is None else [_at(_MARKET_OFFSET, market)]


def in_state(state: JobState) -> list[Json]:
    """Jobs in a state."""
    # One byte below 58 in base58 is one digit.
    digit = {"memcmp": {"offset": _STATE_OFFSET, "bytes": _BASE58[state], "encoding": "base58"}}
    return [{"dataSize": JOB_BYTES}, digit]


class ProgramReader:
    """Implements core.ports.ChainReader but for the watches."""

    def __init__(self, rpc: Rpc, program: MarketsProgram) -> None:
        self._rpc = rpc
        self._program = program
        self._rents: dict[int, int] = {}

    async def rent(self, size: int) -> int:
        """Lamports that keep an account of this size alive; asked for once."""
        if size not in self._rents:
            self._rents[size] = await self._rpc.rent(size)
        return self._rents[size]

    async def time(self) -> ChainTime:
        info = (await self._rpc.account(CLOCK))[0]
        if info is None or info.owner != SYSVAR_OWNER or len(info.data) < 40:
            raise AccountInvalid("The endpoint gave no valid Clock sysvar: use another endpoint.")
        slot = int.from_bytes(info.data[:8], "little")
        return ChainTime(Slot(slot), UnixTime(int.from_bytes(info.data[32:40], "little", signed=True)))

    async def balance(self, address: Pubkey) -> int:
        return await self._rpc.balance(address)

    async def token_balance(self, owner: Pubkey, mint: Pubkey) -> int:
        address = token_address(owner, mint)
        info = (await self._rpc.account(address))[0]
        if info is None or info.lamports == 0:
            return 0
        valid = info.owner == TOKEN_PROGRAM and len(info.data) == TOKEN_ACCOUNT_BYTES
        if not valid or info.data[:64] != bytes(mint) + bytes(owner):
            raise AccountInvalid(f"{address} is no token account of wallet {owner} and mint {mint}: check the mint.")
        return int.from_bytes(info.data[64:72], "little")

    async def market(self, address: Pubkey) -> Market:
        return await self._read("market", address, self._market)

    async def node(self, address: Pubkey) -> Node:
        return await self._read("node", address, self._node)

    async def node_of(self, market: Pubkey, authority: Pubkey) -> Node | None:
        info = _alive((await self._rpc.account(self._program.node_address(market, authority)))[0])
        return None if info is None else self._node(info)

    async def job(self, address: Pubkey) -> Job:
        return await self._read("job", address, self.decode_job)

    async def stake_mint(self, node: Node) -> Pubkey:
        """The mint of the node's stake account; the zero key when it never had one."""
        address = self._program.stake_address(node.address)
        info = _alive((await self._rpc.account(address))[0])
        if info is None or info.owner != TOKEN_PROGRAM or len(info.data) != TOKEN_ACCOUNT_BYTES:
            return Pubkey.default()
        return Pubkey.from_bytes(info.data[:32])

    async def job_at(self, address: Pubkey) -> tuple[Job | None, int]:
        """The job or None, and the slot of the answer."""
        info, slot = await self._rpc.account(address)
        return (None if info is None else self.job_or_none(info)), slot

    async def markets(self) -> Sequence[Market]:
        return await self._scan([{"dataSize": MARKET_BYTES}], self._market)

    async def nodes(self, market: Pubkey) -> Sequence[Node]:
        return await self._scan([{"dataSize": NODE_BYTES}, *in_market(market)], self._node)

    async def jobs(
        self, market: Pubkey, *, state: JobState | None = None, client: Pubkey | None = None
    ) -> Sequence[Job]:
        filters = [{"dataSize": JOB_BYTES}] if state is None else in_state(state)
        filters += in_market(market)
        if client is not None:
            filters.append(_at(_CLIENT_OFFSET, client))
        found = await self._scan(filters, self.decode_job)
        # An endpoint may ignore filters; what wasn't asked for must not be taken for what was.
        return [j for j in found if j.market == market and state in (None, j.state) and client in (None, j.client)]

    async def jobs_of_node(self, node: Pubkey) -> Sequence[Job]:
        found = await self._scan([{"dataSize": JOB_BYTES}, _at(_JOB_NODE_OFFSET, node)], self.decode_job)
        return [job for job in found if job.node == node]

    async def queued(self, market: Pubkey) -> list[QueuedJob]:
        """One catch-up read: the queued jobs of a market, their first 192 bytes."""
        infos, _ = await self._rpc.program_accounts(
            self._program.id,
            queue_filters(market, JobState.QUEUED),
            part=range(QUEUED_BYTES),
            max_bytes=QUEUE_MAX_BYTES,
        )
        found = [self.decode_queued(market, info) for info in infos]
        return [job for job in found if job is not None]

    # --- verification ---

    def decode_queued(self, market: Pubkey, info: AccountInfo) -> QueuedJob | None:
        """A queued job of this market; None for what is none. Raises AccountInvalid for another program's account."""
        self._verify_owner(info)
        try:
            job = queued_from(info.address, info.data[:QUEUED_BYTES])
        except AccountInvalid:
            return None  # one account of a later version must not blind a worker to all others
        return job if job.market == market and job.state == JobState.QUEUED else None

    def job_or_none(self, info: AccountInfo) -> Job | None:
        """None for an account that has just been closed: notifications tell it without lamports."""
        return None if _alive(info) is None else self.decode_job(info)

    def decode_job(self, info: AccountInfo) -> Job:
        self._verify_owner(info)
        job = job_from(info.address, info.data)
        seeds = [b"job", bytes(job.market), bytes(job.client), job.nonce.to_bytes(8, "little"), bytes([job.bump])]
        self._verify_address(info, seeds)
        return job

    def _market(self, info: AccountInfo) -> Market:
        self._verify_owner(info)
        market = market_from(info.address, info.data)
        seeds = [b"market", bytes(market.authority), market.market_id.to_bytes(8, "little"), bytes([market.bump])]
        self._verify_address(info, seeds)
        return market

    def _node(self, info: AccountInfo) -> Node:
        self._verify_owner(info)
        node = node_from(info.address, info.data)
        self._verify_address(info, [b"node", bytes(node.market), bytes(node.authority), bytes([node.bump])])
        return node

    def _verify_owner(self, info: AccountInfo) -> None:
        if info.owner != self._program.id:
            raise AccountInvalid(
                f"The account {info.address} belongs to the program {info.owner}, not to the markets program "
                f"{self._program.id}: check the address, PROGRAM_ID and SOLANA_RPC_URL."
            )

    def _verify_address(self, info: AccountInfo, seeds: list[bytes]) -> None:
        try:
            derived = Pubkey.create_program_address(seeds, self._program.id)
        except ValueError:
            derived = None
        if derived != info.address:
            raise AccountInvalid(
                f"The account {info.address} isn't at the address that its own fields derive: the endpoint "
                f"{self._rpc.transport.name} isn't telling the truth; use another one."
            )

    async def _read(self, what: str, address: Pubkey, decode: Callable[[AccountInfo], T]) -> T:
        info = _alive((await self._rpc.account(address))[0])
        if info is None:
            raise AccountMissing(
                f"There is no {what} at {address} on the chain of {self._rpc.transport.name}: check the address and "
                "SOLANA_RPC_URL."
            )
        return decode(info)

    async def _scan(self, filters: list[Json], decode: Callable[[AccountInfo], T]) -> list[T]:
        infos, _ = await self._rpc.program_accounts(self._program.id, filters)
        found: list[T] = []
        for info in infos:
            self._verify_owner(info)
            try:
                found.append(decode(info))
            except AccountInvalid:
                continue  # another kind of the same size, or of a later version
        return found


def _alive(info: AccountInfo | None) -> AccountInfo | None:
    """None also for an account without lamports: it is deleted when its transaction ends."""
    return info if info is not None and info.lamports > 0 else None
