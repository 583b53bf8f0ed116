"""One call of each instruction that succeeds: what negative tests spoil and compute units are measured on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import NodeState, Reason, Requirements
from hypernode_worker.core.types import Cid
from hypernode_worker.solana.addresses import SYSTEM_PROGRAM, token_address
from tests.support.market_world import CID, DIGEST, RESULT, SPECS, World


@dataclass(frozen=True, slots=True)
class Call:
    """An instruction that this world accepts now, with its signers, and the tokens that it burns."""

    instruction: Instruction
    signers: tuple[Keypair, ...]
    burnt: int = 0


def _create_market(w: World) -> Call:
    return Call(w.program.create_market(w.owner.pubkey(), 900, w.terms, payment_mint=w.mint), (w.owner,))


def _update_market(w: World) -> Call:
    return Call(w.program.update_market(w.market, w.terms, paused=False), (w.owner,))


def _close_market(w: World) -> Call:
    w.svm.advance(1)
    return Call(w.program.close_market(w.owner.pubkey(), w.market_key), (w.owner,))


def _register_node(w: World) -> Call:
    key = w.client.pubkey()
    return Call(w.program.register_node(key, w.market_key, SPECS, capacity=1, payout=key), (w.client,))


def _heartbeat_node(w: World) -> Call:
    return Call(w.program.heartbeat_node(w.operator.pubkey(), w.market_key, NodeState.ACTIVE), (w.operator,))


def _deregister_node(w: World) -> Call:
    """The node has a vault, which is empty again."""
    w.svm.tokens(w.payout.pubkey(), w.stake_mint)
    w.stake(5)
    w.unstake(5)
    w.svm.advance(86_400)
    w.withdraw()
    return Call(w.program.deregister_node(w.node, stake_mint=w.stake_mint), (w.operator,))


def _create_job(w: World) -> Call:
    build = w.program.create_job
    wishes = Requirements()
    key = w.client.pubkey()
    made = build(key, w.market, nonce=900, definition_cid=CID, price=1000, timeout=600, requirements=wishes)
    return Call(made, (w.client,))


def _cancel_job(w: World) -> Call:
    job = w.post()
    w.claim(job)
    return Call(w.program.cancel_job(w.job(job)), (w.client,))


def _extend_job(w: World) -> Call:
    return Call(w.program.extend_job(w.job(w.running()), 10), (w.client,))


def _stop_job(w: World) -> Call:
    return Call(w.program.stop_job(w.job(w.running())), (w.client,))


def _work_job(w: World) -> Call:
    w.update_market(claim_spread_slots=24)
    job = w.post()
    w.svm.advance(60)
    return Call(w.program.work_job(w.operator.pubkey(), w.job(job), begin=True), (w.operator,))


def _begin_job(w: World) -> Call:
    job = w.post()
    w.claim(job)
    return Call(w.program.begin_job(w.operator.pubkey(), w.job(job)), (w.operator,))


def _checkpoint_job(w: World) -> Call:
    build, job = w.program.checkpoint_job, w.job(w.running())
    return Call(build(w.operator.pubkey(), job, progress_bps=5_000, cid=Cid.of(b"epoch")), (w.operator,))


def _release_job(w: World) -> Call:
    job = w.job(w.running())
    return Call(w.program.release_job(w.operator.pubkey(), job, Reason.NODE_SHUTDOWN), (w.operator,))


def _finish_job(w: World) -> Call:
    build, job = w.program.finish_job, w.running()
    w.svm.advance(10)
    made = build(w.operator.pubkey(), w.job(job), result_cid=RESULT, result_hash=DIGEST, exit_status=0)
    return Call(made, (w.operator,))


def _settle_job(w: World) -> Call:
    """A payout that was missing is there again."""

    job, account = w.running(), token_address(w.payout.pubkey(), w.mint)
    if w.is_spl:
        w.svm.freeze(account)
        w.finish(job)
        w.svm.freeze(account, frozen=False)
    else:
        w.svm.put(w.payout.pubkey(), b"", SYSTEM_PROGRAM, 0)
        w.finish(job)
        w.svm.put(w.payout.pubkey(), b"", SYSTEM_PROGRAM, 10**9)
    return Call(w.program.settle_job(w.client.pubkey(), w.job(job)), (w.client,))


def _timeout_job(w: World) -> Call:
    w.update_market(max_attempts=1)
    job = w.running()
    w.svm.advance(600)
    return Call(w.program.timeout_job(w.job(job)), ())


def _close_job(w: World) -> Call:
    job = w.running()
    w.finish(job)
    return Call(w.program.close_job(w.client.pubkey(), w.job(job)), (w.client,))


def _stake(w: World) -> Call:
    w.stake(1)
    w.svm.tokens(w.client.pubkey(), w.stake_mint, 100)
    return Call(w.program.stake(w.client.pubkey(), w.node, w.stake_mint, 100), (w.client,))


def _request_unstake(w: World) -> Call:
    w.stake(100)
    return Call(w.program.request_unstake(w.node, 60), (w.operator,))


def _withdraw_stake(w: World) -> Call:
    w.stake(100)
    w.svm.tokens(w.payout.pubkey(), w.stake_mint)
    w.unstake(60)
    w.svm.advance(86_400)
    return Call(w.program.withdraw_stake(w.node, w.stake_mint), ())


def _share_secrets(w: World) -> Call:
    return Call(w.program.share_secrets(w.job(w.running()), CID), (w.client,))


def _submitted(w: World) -> Pubkey:
    w.update_market(review_period=100, arbiter=w.arbiter.pubkey())
    job = w.running()
    w.svm.advance(10)
    w.finish(job)
    return job


def _dispute_result(w: World) -> Call:
    return Call(w.program.dispute_result(w.job(_submitted(w)), CID), (w.client,))


def _resolve_dispute(w: World) -> Call:
    job = _submitted(w)
    w.dispute(job)
    return Call(w.program.resolve_dispute(w.job(job), pay_bps=6_000, slash_bps=0), (w.arbiter,))


CALLS: dict[str, Callable[[World], Call]] = {
    "create_market": _create_market,
    "update_market": _update_market,
    "close_market": _close_market,
    "register_node": _register_node,
    "heartbeat_node": _heartbeat_node,
    "deregister_node": _deregister_node,
    "stake": _stake,
    "request_unstake": _request_unstake,
    "withdraw_stake": _withdraw_stake,
    "create_job": _create_job,
    "cancel_job": _cancel_job,
    "extend_job": _extend_job,
    "stop_job": _stop_job,
    "work_job": _work_job,
    "begin_job": _begin_job,
    "checkpoint_job": _checkpoint_job,
    "share_secrets": _share_secrets,
    "release_job": _release_job,
    "finish_job": _finish_job,
    "dispute_result": _dispute_result,
    "resolve_dispute": _resolve_dispute,
    "settle_job": _settle_job,
    "timeout_job": _timeout_job,
    "close_job": _close_job,
}
