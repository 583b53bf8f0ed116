"""Scans for what may be due in a market, or in all: core.ports.market.UpkeepChain beside what wallets sign."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import JobState
from hypernode_worker.core.deadlines import Standing
from hypernode_worker.core.types import Slot, UnixTime
from hypernode_worker.solana.codec import DISCRIMINATOR_BYTES, codec
from hypernode_worker.solana.reader import NODE_BYTES, ProgramReader, in_market, in_state
from hypernode_worker.solana.transport import Json

_NUMBER_BYTES = 8


class UpkeepReader(ProgramReader):
    """Reads only the bytes that decide, of all jobs in a state: who acts on them reads the whole account first."""

    async def standings(self, market: Pubkey | None) -> Sequence[tuple[Pubkey, Standing]]:
        """Jobs that have not ended, and ended ones; `market` None: of all markets."""
        found: list[tuple[Pubkey, Standing]] = []
        for state in JobState:
            filters = [*in_state(state), *in_market(market)]
            first, last = ("owed_node", "settled_at") if state.terminal else ("deadline", "deadline_slot")
            for address, values in await self._numbers("Job", filters, first, last):
                found.append((address, _standing(state, values)))
        return found

    async def unstaking(self, market: Pubkey | None) -> Sequence[Pubkey]:
        """Nodes that have asked stake back; `market` None: of all markets."""
        tag = base64.b64encode(codec().idl.accounts["Node"]).decode()
        kind: Json = {"memcmp": {"offset": 0, "bytes": tag, "encoding": "base64"}}
        filters = [{"dataSize": NODE_BYTES}, kind, *in_market(market)]
        found = await self._numbers("Node", filters, "unstaking", "unstaking")
        return [address for address, values in found if values["unstaking"]]

    async def _numbers(
        self, kind: str, filters: list[Json], first: str, last: str
    ) -> list[tuple[Pubkey, dict[str, int]]]:
        """Of each account the 64-bit fields from `first` to `last`, by name; they lie side by side."""
        offsets = codec().accounts[kind].offsets(DISCRIMINATOR_BYTES)
        part = range(offsets[first], offsets[last] + _NUMBER_BYTES)
        places = {name: at - part.start for name, at in offsets.items() if at in part}
        infos, _ = await self._rpc.program_accounts(self._program.id, filters, part=part)
        return [
            (info.address, {name: _number(info.data, at) for name, at in places.items()})
            for info in infos
            if len(info.data) == len(part)
        ]


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + _NUMBER_BYTES], "little")


def _standing(state: JobState, values: dict[str, int]) -> Standing:
    if state.terminal:
        owed = values["owed_node"] + values["owed_fee"] + values["owed_client"]
        return Standing(state, owed=owed, settled_at=UnixTime(values["settled_at"]))
    return Standing(state, UnixTime(values["deadline"]), Slot(values["deadline_slot"]))
