"""Whether the program that is deployed is the packaged one, under each loader, told by an endpoint."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from solders.pubkey import Pubkey

from hypernode_worker.errors import ConfigError
from hypernode_worker.localnet.accounts import ChainAccount
from hypernode_worker.solana.artifact import program_elf
from hypernode_worker.solana.client import open_chain
from hypernode_worker.solana.deployment import LOADER_V2, LOADER_V4, UPGRADEABLE_LOADER, Deployment
from hypernode_worker.solana.program import LOCALNET_PROGRAM_ID
from tests.support.solana_endpoint import Endpoint

ELF = program_elf()
AUTHORITY, PROGRAM = Pubkey.new_unique(), Pubkey.new_unique()
DATA, _ = Pubkey.find_program_address([bytes(PROGRAM)], UPGRADEABLE_LOADER)
SLOT = bytes(8)
CHANGED = ELF[:70_000] + bytes([ELF[70_000] ^ 1]) + ELF[70_001:]


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    async with Endpoint() as endpoint:
        yield endpoint


async def look(endpoint: Endpoint, program: Pubkey = PROGRAM) -> Deployment:
    async with open_chain(endpoint.url, program_id=program, timeout_s=2.0) as chain:
        return await chain.checks.program()


def put(endpoint: Endpoint, address: Pubkey, data: bytes, loader: Pubkey, *, executable: bool = True) -> None:
    # Not through the bank: the virtual machine would load it, and refuse what isn't whole.
    real = endpoint.bank.account

    def account(wanted: Pubkey) -> ChainAccount | None:
        return ChainAccount(10**9, data, loader, executable) if wanted == address else real(wanted)

    setattr(endpoint.bank, "account", account)  # noqa: B010


def put_upgradeable(endpoint: Endpoint, elf: bytes, authority: Pubkey | None, *, padding: int = 0) -> None:
    option = b"\0" + bytes(32) if authority is None else b"\1" + bytes(authority)
    put(endpoint, PROGRAM, b"\2\0\0\0" + bytes(DATA), UPGRADEABLE_LOADER)
    put(endpoint, DATA, b"\3\0\0\0" + SLOT + option + elf + bytes(padding), UPGRADEABLE_LOADER, executable=False)


async def test_the_localnets_program_is_the_packaged_one_and_final(endpoint: Endpoint) -> None:
    assert await look(endpoint, LOCALNET_PROGRAM_ID) == Deployment(LOCALNET_PROGRAM_ID, True, None)


@pytest.mark.parametrize("authority", [AUTHORITY, None])
async def test_an_upgradeable_program_with_room_to_grow(endpoint: Endpoint, authority: Pubkey | None) -> None:
    put_upgradeable(endpoint, ELF, authority, padding=50_000)
    assert await look(endpoint) == Deployment(PROGRAM, True, authority)


@pytest.mark.parametrize("other", [CHANGED, ELF[:-1], ELF[:100], b"\x7fELF"], ids=["bit", "short", "head", "tiny"])
async def test_another_program_is_told(endpoint: Endpoint, other: bytes) -> None:
    put_upgradeable(endpoint, other, AUTHORITY)
    assert await look(endpoint) == Deployment(PROGRAM, False, AUTHORITY)


async def test_a_program_of_the_old_loader_can_never_change(endpoint: Endpoint) -> None:
    put(endpoint, PROGRAM, ELF, LOADER_V2)
    assert await look(endpoint) == Deployment(PROGRAM, True, None)


@pytest.mark.parametrize(("status", "authority"), [(1, AUTHORITY), (2, None)], ids=["deployed", "final"])
async def test_a_program_of_loader_v4(endpoint: Endpoint, status: int, authority: Pubkey | None) -> None:
    put(endpoint, PROGRAM, SLOT + bytes(AUTHORITY) + status.to_bytes(8, "little") + ELF, LOADER_V4)
    assert await look(endpoint) == Deployment(PROGRAM, True, authority)


async def test_a_closed_program_is_no_deployment(endpoint: Endpoint) -> None:
    put(endpoint, PROGRAM, b"\2\0\0\0" + bytes(DATA), UPGRADEABLE_LOADER)
    with pytest.raises(ConfigError, match=rf"{PROGRAM} was closed on .* Check PROGRAM_ID"):
        await look(endpoint)


@pytest.mark.parametrize(
    ("data", "owner"),
    [
        (b"\3\0\0\0" + bytes(60), LOADER_V2),
        (b"\1\0\0\0" + bytes(60), UPGRADEABLE_LOADER),
        (b"\3\0\0\0" + bytes(41), UPGRADEABLE_LOADER),
        (b"", UPGRADEABLE_LOADER),
    ],
    ids=["other owner", "buffer", "no code", "empty"],
)
async def test_what_a_program_points_at_must_be_its_code(endpoint: Endpoint, data: bytes, owner: Pubkey) -> None:
    put(endpoint, PROGRAM, b"\2\0\0\0" + bytes(DATA), UPGRADEABLE_LOADER)
    put(endpoint, DATA, data, owner, executable=False)
    with pytest.raises(ConfigError, match="was closed"):
        await look(endpoint)


async def test_no_more_is_read_than_the_packaged_programs_length(endpoint: Endpoint) -> None:
    put_upgradeable(endpoint, ELF, AUTHORITY, padding=5_000_000)
    assert (await look(endpoint)).is_packaged
    asked = [request["params"][1]["dataSlice"]["length"] for request in endpoint.requests]
    assert asked == [36, 45 + len(ELF)]
