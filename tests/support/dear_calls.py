"""The calls that cost the most: payees that can't receive, addresses found late, prefunded accounts, burnt stake.

An address that the program must search for costs 1,500 compute units a try; half of all addresses are found at the
first, all but one in 1,024 by the tenth. Here each is found at the tenth.
"""

from __future__ import annotations

from collections.abc import Callable

from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.solana.addresses import ASSOCIATED_TOKEN_PROGRAM, SYSTEM_PROGRAM, TOKEN_PROGRAM
from tests.support.market_world import CID, DIGEST, RESULT, SPECS, World
from tests.support.program_calls import CALLS, Call

TRIES = 10
_BUMP = 256 - TRIES
_DAYS_90 = 90 * 86_400


def _found_late(seeds: list[bytes], program: Pubkey) -> bool:
    return Pubkey.find_program_address(seeds, program)[1] == _BUMP


def _late_tokens(world: World) -> Pubkey:
    """A wallet without tokens, whose associated token account is found at the tenth try."""
    while True:
        wallet = Pubkey.new_unique()
        if _found_late([bytes(wallet), bytes(TOKEN_PROGRAM), bytes(world.mint)], ASSOCIATED_TOKEN_PROGRAM):
            return wallet


def _late_client(world: World) -> Keypair:
    while True:
        key = Keypair()
        if _found_late([bytes(key.pubkey()), bytes(TOKEN_PROGRAM), bytes(world.mint)], ASSOCIATED_TOKEN_PROGRAM):
            world.svm.put(key.pubkey(), b"", SYSTEM_PROGRAM, 10**11)
            return key


def _create_market(w: World) -> Call:
    owner, number = w.owner.pubkey(), 900
    while not _found_late([b"market", bytes(owner), number.to_bytes(8, "little")], w.program.id):
        number += 1
    w.svm.put(w.program.market_address(owner, number), b"", SYSTEM_PROGRAM, 1)
    mints = {"payment_mint": w.mint, "stake_mint": w.stake_mint}
    return Call(w.program.create_market(owner, number, w.terms, **mints), (w.owner,))


def _register_node(w: World) -> Call:
    key = Keypair()
    while not _found_late([b"node", bytes(w.market_key), bytes(key.pubkey())], w.program.id):
        key = Keypair()
    w.svm.put(key.pubkey(), b"", SYSTEM_PROGRAM, 10**10)
    w.svm.put(w.program.node_address(w.market_key, key.pubkey()), b"", SYSTEM_PROGRAM, 1)
    made = w.program.register_node(key.pubkey(), w.market_key, SPECS, capacity=1, payout=key.pubkey())
    return Call(made, (key,))


def _stake(w: World) -> Call:
    """The first stake of a node: its vault is made."""
    key = Keypair()
    while not _found_late([b"stake", bytes(w.program.node_address(w.market_key, key.pubkey()))], w.program.id):
        key = Keypair()
    w.svm.put(key.pubkey(), b"", SYSTEM_PROGRAM, 10**10)
    node = w.svm.node(w.register(key))
    w.svm.put(w.program.stake_address(node.address), b"", SYSTEM_PROGRAM, 1)
    w.svm.tokens(key.pubkey(), w.stake_mint, 100)
    return Call(w.program.stake(key.pubkey(), node, w.stake_mint, 100), (key,))


def _deregister_node(w: World) -> Call:
    """Slashed stake is burnt."""
    _lock(w)
    w.update_market(max_attempts=1)
    job = w.running()
    w.svm.advance(10_000)
    w.time_out(job)
    w.svm.tokens(w.payout.pubkey(), w.stake_mint)
    w.unstake(w.node.staked)
    w.svm.advance(86_400)
    w.withdraw()
    return Call(w.program.deregister_node(w.node, stake_mint=w.stake_mint), (w.operator,), burnt=w.node.slashed)


def _create_job(w: World) -> Call:
    """Somebody has sent a lamport to each address before."""
    job = w.program.job_address(w.market_key, w.client.pubkey(), 900)
    for address in (job, w.program.escrow_address(job)):
        w.svm.put(address, b"", SYSTEM_PROGRAM, 1)
    return CALLS["create_job"](w)


def _lock(w: World) -> None:
    w.update_market(lock_per_job=100, slash_bps=5_000, heartbeat_timeout=0, fee_bps=100)
    w.stake(1_000)


def _running(w: World, *, nobody: bool) -> tuple[Pubkey, Keypair]:
    """A job with a lock. `nobody`: none of its payees has tokens."""
    _lock(w)
    client, changes = w.client, {}
    if nobody and w.is_spl:
        client = _late_client(w)
        w.update_market(fee_receiver=_late_tokens(w))
        w.send(
            w.program.register_node(
                w.operator.pubkey(), w.market_key, SPECS, capacity=4, payout=_late_tokens(w),
                old_payout=w.payout.pubkey(),
            ),
            w.operator, w.payout,
        )  # fmt: skip
        changes = {"source": w.svm.tokens(client.pubkey(), w.mint, 10**9, address=Pubkey.new_unique())}
    job = w.post(client=client, **changes)
    w.claim(job, begin=True)
    w.svm.advance(10)
    return job, client


def _finish(w: World, job: Pubkey) -> Call:
    build = w.program.finish_job
    made = build(w.operator.pubkey(), w.job(job), result_cid=RESULT, result_hash=DIGEST, exit_status=0)
    return Call(made, (w.operator,))


def _finish_job(w: World) -> Call:
    job, _ = _running(w, nobody=True)
    return _finish(w, job)


def _cancel_job(w: World) -> Call:
    _lock(w)
    client, changes = w.client, {}
    if w.is_spl:
        client = _late_client(w)
        changes = {"source": w.svm.tokens(client.pubkey(), w.mint, 10**9, address=Pubkey.new_unique())}
    job = w.post(client=client, **changes)
    w.claim(job)
    return Call(w.program.cancel_job(w.job(job)), (client,))


def _submitted(w: World, *, nobody: bool) -> tuple[Pubkey, Keypair]:
    w.update_market(review_period=100, arbiter=w.arbiter.pubkey())
    job, client = _running(w, nobody=nobody)
    made = _finish(w, job)
    w.svm.send(made.instruction, signers=made.signers)
    return job, client


def _settle_job(w: World) -> Call:
    job, client = _submitted(w, nobody=True)
    return Call(w.program.settle_job(client.pubkey(), w.job(job)), (client,))


def _resolve_dispute(w: World) -> Call:
    """The node has lost, and is slashed."""
    job, client = _submitted(w, nobody=True)
    source = w.svm.tokens(client.pubkey(), w.mint, 10**9, address=Pubkey.new_unique()) if w.is_spl else None
    w.send(w.program.dispute_result(w.job(job), CID, source=source), client)
    return Call(w.program.resolve_dispute(w.job(job), pay_bps=4_000, slash_bps=5_000), (w.arbiter,))


def _timeout_job(w: World) -> Call:
    w.update_market(max_attempts=1)
    job, _ = _running(w, nobody=True)
    w.svm.advance(10_000)
    return Call(w.program.timeout_job(w.job(job)), ())


def _close_job(w: World) -> Call:
    """After 90 days nobody but the client has tokens: what is owed to others is tried once more."""
    job, client = _running(w, nobody=True)
    made = _finish(w, job)
    w.svm.send(made.instruction, signers=made.signers)
    if w.is_spl:
        w.svm.tokens(client.pubkey(), w.mint)
    w.svm.advance(_DAYS_90)
    return Call(w.program.close_job(w.operator.pubkey(), w.job(job)), (w.operator,))


DEAR: dict[str, Callable[[World], Call]] = {
    "create_market": _create_market,
    "register_node": _register_node,
    "deregister_node": _deregister_node,
    "stake": _stake,
    "create_job": _create_job,
    "cancel_job": _cancel_job,
    "finish_job": _finish_job,
    "resolve_dispute": _resolve_dispute,
    "settle_job": _settle_job,
    "timeout_job": _timeout_job,
    "close_job": _close_job,
}
"""Other instructions have one path that matters, that of CALLS."""

SEARCHES: dict[tuple[str, str], int] = {
    ("create_market", "native"): 1, ("create_market", "spl"): 1, ("register_node", "native"): 1,
    ("register_node", "spl"): 1, ("stake", "native"): 1, ("stake", "spl"): 1, ("cancel_job", "spl"): 1,
    ("finish_job", "spl"): 3, ("resolve_dispute", "spl"): 3, ("settle_job", "spl"): 3, ("timeout_job", "spl"): 1,
    ("close_job", "spl"): 2,
}  # fmt: skip
"""How many addresses the dearest call of an instruction searches for."""
