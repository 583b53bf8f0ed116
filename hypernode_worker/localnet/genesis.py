"""A fresh virtual machine with Mainnet's features and programs, and how a program is put into it."""

from __future__ import annotations

import secrets

from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey

from hypernode_worker.errors import ConfigError

UPGRADEABLE_LOADER = Pubkey.from_string("BPFLoaderUpgradeab1e11111111111111111111111")
GENESIS_OWNERS = frozenset(
    Pubkey.from_string(text)
    for text in (
        "NativeLoader1111111111111111111111111111111",
        "BPFLoader1111111111111111111111111111111111",
        "BPFLoader2111111111111111111111111111111111",
        "BPFLoaderUpgradeab1e11111111111111111111111",
        "Sysvar1111111111111111111111111111111111111",
        "Feature111111111111111111111111111111111111",
    )
)
"""Owners of accounts that are there before any transaction, or change without one."""

_LOG_BYTES = 10_000
"""Agave cuts a transaction's logs here."""


def new_vm() -> LiteSVM:
    """A virtual machine that leaves blockhashes, signatures and duplicates to the bank.

    It keeps one blockhash and no time of its own, so all of that is checked before it sees a transaction.
    """
    vm = (
        LiteSVM.default()
        .with_mainnet_features()
        .with_builtins()
        .with_lamports(0)
        .with_sysvars()
        .with_feature_accounts()
        .with_default_programs()
        .with_sigverify(False)
        .with_blockhash_check(False)
        .with_transaction_history(0)
        .with_log_bytes_limit(_LOG_BYTES)
    )
    # Every fresh machine begins with the same blockhash, from which durable nonces are made.
    for _ in range(1 + secrets.randbelow(1000)):
        vm.expire_blockhash()
    return vm


def add_program(vm: LiteSVM, address: Pubkey, elf: bytes) -> tuple[Pubkey, Pubkey]:
    """Deploys ELF bytes at an address under the upgradeable loader, without an upgrade authority.

    Returns:
        The addresses of programdata and program, in the order in which they can be restored.

    Raises:
        ConfigError: the bytes aren't a program that this chain can run.
    """
    try:
        vm.add_program_with_loader(address, elf, UPGRADEABLE_LOADER)
    except Exception as error:  # solders raises its own class, which has no public name
        raise ConfigError(
            f"The program for {address} ({len(elf)} bytes) can't be loaded: {error}. Give a built .so file."
        ) from error
    programdata, _ = Pubkey.find_program_address([bytes(address)], UPGRADEABLE_LOADER)
    return programdata, address
