"""How money comes into a job, is shared out and delivered; and how stake moves."""

from __future__ import annotations

from dataclasses import replace

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job, JobState, Market, Node
from hypernode_worker.solana.addresses import SYSTEM_PROGRAM, TOKEN_PROGRAM, token_address
from tests.support.histories.books import TOKEN_ACCOUNT_BYTES, U64, Draft, Forbidden, Token, need


def share(amount: int, bps: int) -> int:
    return amount * bps // 10_000


def deposit(draft: Draft, job: Job, amount: int) -> None:
    """From the client into the job's escrow."""
    if job.is_native:
        draft.is_at("system_program", SYSTEM_PROGRAM)
        draft.writable(job.client)
        draft.pay(job.client, job.address, amount)
        return
    draft.is_at("token_program", TOKEN_PROGRAM)
    source, escrow = draft.key("from"), draft.key("escrow")
    need(escrow == job.escrow, "another escrow")
    held = draft.token(source)
    if held is None or held.mint != job.payment_mint or source == escrow:
        raise Forbidden("no tokens of this mint")
    need(held.owner == job.client, "somebody else's tokens")
    draft.transfer(source, escrow, amount)


def open_escrow(draft: Draft, job: Job) -> None:
    draft.is_at("token_program", TOKEN_PROGRAM)
    draft.is_at("payment_mint", job.payment_mint)
    draft.is_at("escrow", draft.books.program.escrow_address(job.address))
    draft.open(job.client, job.escrow, TOKEN_ACCOUNT_BYTES)
    draft.put_token(job.escrow, Token(job.payment_mint, job.address))


def conclude(draft: Draft, job: Job, state: JobState, *, node: int = 0, fee: int = 0, client: int = 0) -> Job:
    """A terminal state, in which everything is owed to somebody."""
    assert node + fee + client == job.deposit + job.bond
    ended = job.ended_at or draft.time
    return replace(
        job, state=state, settled_at=draft.time, ended_at=ended, owed_node=node, owed_fee=fee, owed_client=client
    )


def deliver(draft: Draft, job: Job, *, everyone: bool) -> Job:
    """Pays whoever is owed and can receive. With `everyone`, all who are owed must be given."""
    payees = (
        ("payout_to", job.payout, "owed_node", "paid"),
        ("fee_to", job.fee_receiver, "owed_fee", "fee"),
        ("client_to", job.client, "owed_client", "refunded"),
    )
    for name, wallet, owed, paid in payees:
        amount = getattr(job, owed)
        to = draft.given(name)
        if not amount or to is None:
            need(not (amount and everyone), f"{name} is needed")
            continue
        if _receives(draft, job, to, wallet, amount):
            job = replace(job, **{owed: 0, paid: getattr(job, paid) + amount})
    return job


def _receives(draft: Draft, job: Job, to: Pubkey, wallet: Pubkey, amount: int) -> bool:
    if not job.is_native:
        return _receives_tokens(draft, job, to, wallet, amount)
    need(to == wallet, "another wallet")
    if draft.record(to) is not None:
        return False
    if to not in draft.told.writables:
        need(draft.token(to) is not None or draft.lamports(to) == 0, "kept read-only")
        return False
    size = TOKEN_ACCOUNT_BYTES if draft.token(to) else 0
    if draft.lamports(to) + amount < draft.books.rent(size):
        return False
    draft.pay(job.address, to, amount)
    return True


def _receives_tokens(draft: Draft, job: Job, to: Pubkey, wallet: Pubkey, amount: int) -> bool:
    escrow = live_escrow(draft, job)
    found = draft.token(to)
    live = found is not None and found.mint == job.payment_mint and found.owner == wallet and not found.frozen
    if not live or to == job.escrow:
        need(to == token_address(wallet, job.payment_mint), "not the wallet's account")
        return False
    if escrow.frozen:
        return False
    draft.transfer(job.escrow, to, amount)
    return True


def live_escrow(draft: Draft, job: Job) -> Token:
    draft.is_at("token_program", TOKEN_PROGRAM)
    need(draft.key("escrow") == job.escrow, "another escrow")
    draft.writable(job.escrow)
    escrow = draft.token(job.escrow)
    assert escrow is not None
    return escrow


def close_escrow(draft: Draft, job: Job) -> None:
    """What is left goes to the client's tokens, the rent to the client."""
    escrow = live_escrow(draft, job)
    if escrow.amount:
        to = draft.key("client_to")
        found = draft.token(to)
        need(found is not None and found.owner == job.client, "not the client's")
        draft.transfer(job.escrow, to, escrow.amount)
    draft.close(job.escrow, job.client)


# --- stake ---


def open_vault(draft: Draft, node: Node, market: Market, payer: Pubkey) -> Pubkey:
    """The node's vault, made with the first stake."""
    vault = draft.books.program.stake_address(node.address)
    draft.is_at("vault", vault)
    if draft.token(vault) is None:
        draft.is_at("system_program", SYSTEM_PROGRAM)
        draft.open(payer, vault, TOKEN_ACCOUNT_BYTES)
        draft.put_token(vault, Token(market.stake_mint, node.address))
    return vault


def pay_stake_in(draft: Draft, vault: Pubkey, funder: Pubkey, amount: int) -> None:
    source = draft.key("from")
    held = draft.token(source)
    if held is None or source == vault:
        raise Forbidden("no tokens")
    need(held.owner == funder, "somebody else's tokens")
    draft.transfer(source, vault, amount)


def take_lock(node: Node, job: Job) -> Node:
    locked = node.locked + job.lock
    need(locked <= U64, "more than there is")
    return replace(node, locked=locked, active_jobs=node.active_jobs + 1, open_jobs=node.open_jobs + 1)


def let_go(node: Node, job: Job, *, worked: bool) -> Node:
    active = node.active_jobs - 1 if worked else node.active_jobs
    return replace(node, locked=node.locked - job.lock, active_jobs=active, open_jobs=node.open_jobs - 1)


def slash(node: Node, job: Job, bps: int) -> Node:
    lost = share(job.lock, bps)
    return replace(node, staked=node.staked - lost, slashed=node.slashed + lost)
