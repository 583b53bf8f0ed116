//! A node claims a queued job. Writes nothing but the job and the node, so that claims don't wait for each other.

use pinocchio::{AccountView, Address};

use crate::error::Error;
use crate::event::JobClaimed;
use crate::guard::{authority, ensure, load, load_mut, Result};
use crate::hash::sha256;
use crate::instruction::WorkJob;
use crate::state::node::ACTIVE;
use crate::state::{Job, JobState, Market, Node, Now};

/// The job's last node waits this many slots longer than everyone else.
const LAST_NODE_WAITS: u64 = 150;

#[inline(never)]
pub fn process(program: &Address, accounts: &[AccountView], args: &WorkJob) -> Result {
    let [owner, node, job, market, ..] = accounts else {
        return Err(Error::NotEnoughAccounts.into());
    };
    let terms = load::<Market>(market, program)?;
    let worker = load_mut::<Node>(node, program)?;
    let state = load_mut::<Job>(job, program)?;
    authority(owner, &worker.authority)?;
    let now = Now::read()?;
    check_market(market.address(), terms, worker, state)?;
    check_job(state, args.queued_slot.get(), now)?;
    check_node(worker, terms, state)?;
    let opens = open_slot(job.address(), node.address(), state);
    ensure(now.slot >= opens, Error::WindowNotOpen)?;

    worker.take(state.lock.get())?;
    worker.last_seen.set(now.time);
    state.attempts = state.attempts.saturating_add(1);
    state.node = *node.address();
    state.payout = worker.payout;
    state.claimed_at.set(now.time);
    if args.begin.get()? {
        state.start(now);
    } else {
        state.state = JobState::CLAIMED;
        state.set_deadline(now, state.setup_timeout.get());
    }
    JobClaimed::emit(*job.address(), *node.address(), state.attempts, state.state);
    Ok(())
}

/// Job and node are of this very market, not of an earlier one at its address.
#[inline(always)]
fn check_market(market: &Address, terms: &Market, node: &Node, job: &Job) -> Result {
    ensure(terms.paused == 0, Error::MarketPaused)?;
    ensure(&node.market == market && &job.market == market, Error::WrongMarket)?;
    let slot = terms.created_slot;
    ensure(node.market_slot == slot && job.market_slot == slot, Error::WrongMarket)
}

#[inline(always)]
fn check_job(job: &Job, queued_slot: u64, now: Now) -> Result {
    job.require(JobState::QUEUED)?;
    ensure(job.queued_slot.get() == queued_slot, Error::JobReplaced)?;
    ensure(job.attempts < job.max_attempts, Error::AttemptsSpent)?;
    ensure(!job.passed(now), Error::DeadlinePassed)
}

#[inline(always)]
fn check_node(node: &Node, terms: &Market, job: &Job) -> Result {
    ensure(node.state == ACTIVE, Error::NodeNotActive)?;
    ensure(node.able(job), Error::NodeUnable)?;
    ensure(node.trust() >= job.min_trust, Error::NodeUntrusted)?;
    let room = node.capacity.get().min(terms.max_capacity.get());
    ensure(node.active_jobs.get() < room, Error::NodeFull)?;
    let free = node.staked.get().saturating_sub(node.unstaking.get());
    let locked = node.locked.get().checked_add(job.lock.get()).ok_or(Error::Overflow)?;
    ensure(free >= terms.min_stake.get() && free >= locked, Error::StakeTooLow)
}

/// The first slot in which this node may claim. Openings double every two slots, so that few nodes collide.
#[inline(always)]
fn open_slot(job: &Address, node: &Address, state: &Job) -> u64 {
    let (queued, spread) = (state.queued_slot.get(), state.claim_spread_slots.get() as u64);
    if &state.node == node {
        return queued.saturating_add(spread).saturating_add(LAST_NODE_WAITS);
    }
    if spread == 0 {
        return queued;
    }
    let h = window_hash(&[job.as_array(), node.as_array(), state.queued_slot.bytes()]);
    let early = 2 * h.leading_zeros() as u64 + (h & 1);
    queued.saturating_add(spread.saturating_sub(early))
}

/// First eight bytes of the sha256 of the pieces, little endian.
#[inline(always)]
fn window_hash(pieces: &[&[u8]]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = sha256(pieces);
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}
