"""What stands at a program's address: is it the program that ships in this package, and who may change it?"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from solders.pubkey import Pubkey

from hypernode_worker.solana.artifact import build_record
from hypernode_worker.solana.rpc import AccountInfo, Rpc

LOADER_V2 = Pubkey.from_string("BPFLoader2111111111111111111111111111111111")
UPGRADEABLE_LOADER = Pubkey.from_string("BPFLoaderUpgradeab1e11111111111111111111111")
LOADER_V4 = Pubkey.from_string("LoaderV411111111111111111111111111111111111")

# Bytes before the ELF file: u32 kind, u64 slot, Option of the authority; of loader v4 u64 slot, authority, u64 status.
_HEADERS = {LOADER_V2: 0, UPGRADEABLE_LOADER: 45, LOADER_V4: 48}
_PROGRAM, _PROGRAM_DATA = (2).to_bytes(4, "little"), (3).to_bytes(4, "little")
_FINALIZED = (2).to_bytes(8, "little")
_PROGRAM_BYTES = 36


@dataclass(frozen=True, slots=True)
class Deployment:
    """A program that can be called.

    Attributes:
        is_packaged: its code is byte for byte the packaged program's.
        authority: who may replace or close it; None: nobody any more.
    """

    address: Pubkey
    is_packaged: bool
    authority: Pubkey | None


async def read_deployment(rpc: Rpc, program: Pubkey) -> Deployment | AccountInfo | None:
    """What is deployed at this address; the account itself where it is no program that can be called.

    Reads no more than the packaged program's length: a program may have 10 MB, and what follows an ELF file that is
    whole (the zeros of a longer account) doesn't change what it does.
    """
    record = build_record()
    head = await rpc.account_head(program, _PROGRAM_BYTES)
    if head is None or not head.executable or head.owner not in _HEADERS:
        return head
    size = _HEADERS[head.owner]
    if head.owner == UPGRADEABLE_LOADER:
        if len(head.data) != _PROGRAM_BYTES or not head.data.startswith(_PROGRAM):
            return head
        found = await rpc.account_head(Pubkey.from_bytes(head.data[4:]), size + record.bytes)
    else:
        found = await rpc.account_head(program, size + record.bytes)
    if found is None or found.owner != head.owner or len(found.data) <= size:
        return head
    if head.owner == UPGRADEABLE_LOADER and not found.data.startswith(_PROGRAM_DATA):
        return head
    is_packaged = hashlib.sha256(found.data[size:]).hexdigest() == record.sha256
    return Deployment(program, is_packaged, _authority(head.owner, found.data[:size]))


def _authority(loader: Pubkey, header: bytes) -> Pubkey | None:
    if loader == UPGRADEABLE_LOADER and header[12] == 1:
        return Pubkey.from_bytes(header[13:45])
    if loader == LOADER_V4 and header[40:] != _FINALIZED:
        return Pubkey.from_bytes(header[8:40])
    return None
