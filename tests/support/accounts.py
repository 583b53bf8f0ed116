"""Market, node and job accounts with sensible values, for tests that need one and care about a field or two."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import (
    NATIVE_MINT,
    Job,
    JobState,
    Market,
    MarketTerms,
    Node,
    NodeSpecs,
    NodeState,
    Reason,
    Requirements,
)
from hypernode_worker.core.types import Cid, Slot, UnixTime

NOBODY = Pubkey.default()


def make_market(**changes: Any) -> Market:
    market = Market(
        address=Pubkey.new_unique(),
        version=1,
        bump=255,
        paused=0,
        market_id=1,
        authority=Pubkey.new_unique(),
        payment_mint=NATIVE_MINT,
        stake_mint=NATIVE_MINT,
        created_slot=Slot(1),
        revision=0,
        terms=MarketTerms(),
    )
    return replace(market, **changes)


def make_specs(**changes: Any) -> NodeSpecs:
    specs = NodeSpecs(
        isolation=1,
        gpu_vendor=0,
        gpu_count=0,
        country=b"\0\0",
        vram_mb=0,
        ram_mb=16_000,
        disk_gb=100,
        cpu_cores=8,
        frameworks=0b11111,
        specs_cid=None,
    )
    return replace(specs, **changes)


def make_node(market: Market, authority: Pubkey, **changes: Any) -> Node:
    node = Node(
        address=Pubkey.new_unique(),
        version=1,
        bump=255,
        state=NodeState.ACTIVE,
        specs=make_specs(),
        market=market.address,
        authority=authority,
        payout=authority,
        capacity=1,
        active_jobs=0,
        credit=market.terms.start_credit,
        open_jobs=0,
        unstake_cooldown=market.terms.unstake_cooldown,
        market_slot=market.created_slot,
        staked=0,
        locked=0,
        unstaking=0,
        slashed=0,
        unstake_at=UnixTime(0),
        completed=0,
        failed=0,
        released=0,
        abandoned=0,
        disputes_lost=0,
        compute_seconds=0,
        earned=0,
        credited_at=UnixTime(0),
        registered_at=UnixTime(0),
        last_seen=UnixTime(0),
    )
    return replace(node, **changes)


def make_job(market: Market | None = None, **changes: Any) -> Job:
    """A queued job with the market's terms copied in."""
    market = market or make_market()
    terms = market.terms
    job = Job(
        address=Pubkey.new_unique(),
        version=1,
        bump=255,
        state=JobState.QUEUED,
        attempts=0,
        max_attempts=terms.max_attempts,
        requirements=Requirements(),
        market=market.address,
        client=Pubkey.new_unique(),
        node=NOBODY,
        price=10,
        timeout=600,
        queued_slot=Slot(100),
        deadline=UnixTime(terms.queue_timeout),
        deadline_slot=Slot(100),
        definition_cid=Cid.of(b"definition"),
        flags=terms.flags,
        claim_spread_slots=terms.claim_spread_slots,
        nonce=1,
        payment_mint=market.payment_mint,
        escrow=NOBODY,
        payout=NOBODY,
        fee_receiver=terms.fee_receiver,
        arbiter=terms.arbiter,
        result_cid=None,
        checkpoint_cid=None,
        reason_cid=None,
        exit_status=0,
        result_hash=bytes(32),
        checkpoint_seq=0,
        progress_bps=0,
        fee_bps=terms.fee_bps,
        slash_bps=terms.slash_bps,
        bond_bps=terms.bond_bps,
        reason=Reason.NONE,
        max_timeout=terms.max_timeout,
        setup_timeout=terms.setup_timeout,
        queue_timeout=terms.queue_timeout,
        review_period=terms.review_period,
        resolve_timeout=terms.resolve_timeout,
        heartbeat_timeout=terms.heartbeat_timeout,
        finish_grace=terms.finish_grace,
        used=0,
        deposit=6_000,
        bond=0,
        paid=0,
        fee=0,
        refunded=0,
        owed_node=0,
        owed_fee=0,
        owed_client=0,
        lock=terms.lock_per_job,
        credit_pay=terms.credit_pay,
        market_slot=market.created_slot,
        created_at=UnixTime(0),
        claimed_at=UnixTime(0),
        started_at=UnixTime(0),
        checkpoint_at=UnixTime(0),
        stopped_at=UnixTime(0),
        ended_at=UnixTime(0),
        settled_at=UnixTime(0),
        secrets_cid=None,
    )
    return replace(job, **changes)
