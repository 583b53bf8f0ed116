//! A job and its escrow. Terms are the market's when the job was created.

use pinocchio::Address;

use super::layout::{account, wire, Cid, I32, I64, NO_KEY, U16, U32, U64};
use super::{share, Now};
use crate::error::Error;
use crate::guard::{ensure, Result};

account! {
    /// At ["job", market, client, nonce]; an SPL escrow is the token account at ["escrow", job].
    Job, 768 bytes {
        0 discriminator: [u8; 8],
        8 version: u8,
        9 bump: u8,
        10 attempts: u8,
        11 max_attempts: u8,
        12 min_trust: u8,
        13 gpu_vendor: u8,
        14 gpu_count: u8,
        15 state: u8,
        16 market: Address,
        48 client: Address,
        80 node: Address,
        112 price: U64,
        120 timeout: U32,
        124 vram_mb: U32,
        128 queued_slot: U64,
        136 deadline: I64,
        144 deadline_slot: U64,
        152 definition_cid: Cid,
        188 framework: u8,
        189 flags: u8,
        190 claim_spread_slots: U16,
        192 nonce: U64,
        200 payment_mint: Address,
        232 escrow: Address,
        264 payout: Address,
        296 fee_receiver: Address,
        328 arbiter: Address,
        360 result_cid: Cid,
        396 checkpoint_cid: Cid,
        432 reason_cid: Cid,
        468 exit_status: I32,
        472 result_hash: [u8; 32],
        504 checkpoint_seq: U32,
        508 progress_bps: U16,
        510 fee_bps: U16,
        512 slash_bps: U16,
        514 bond_bps: U16,
        516 reason: u8,
        517 rsv0: [u8; 3],
        520 max_timeout: U32,
        524 setup_timeout: U32,
        528 queue_timeout: U32,
        532 review_period: U32,
        536 resolve_timeout: U32,
        540 heartbeat_timeout: U32,
        544 finish_grace: U32,
        548 used: U32,
        552 deposit: U64,
        560 bond: U64,
        568 paid: U64,
        576 fee: U64,
        584 refunded: U64,
        592 owed_node: U64,
        600 owed_fee: U64,
        608 owed_client: U64,
        616 lock: U64,
        624 credit_pay: U64,
        632 market_slot: U64,
        640 created_at: I64,
        648 claimed_at: I64,
        656 started_at: I64,
        664 checkpoint_at: I64,
        672 stopped_at: I64,
        680 ended_at: I64,
        688 settled_at: I64,
        696 secrets_cid: Cid,
        732 rsv: [u8; 36],
    }
}

wire! {
    /// What a job's node must have.
    Requirements {
        min_trust: u8,
        gpu_vendor: u8,
        gpu_count: u8,
        vram_mb: U32,
        framework: u8,
    }
}

/// Values of `Job.state`; from `SETTLED` on they are terminal.
pub struct JobState;

impl JobState {
    pub const QUEUED: u8 = 1;
    pub const CLAIMED: u8 = 2;
    pub const RUNNING: u8 = 3;
    pub const SUBMITTED: u8 = 4;
    pub const DISPUTED: u8 = 5;
    pub const SETTLED: u8 = 6;
    pub const CANCELLED: u8 = 7;
    pub const EXPIRED: u8 = 8;
}

/// Values of `Job.reason`: 1 to 6 are given by nodes, the others set here.
pub const MAX_NODE_REASON: u8 = 6;
pub const TIMED_OUT: u8 = 7;
pub const STOPPED: u8 = 8;
pub const ATTEMPTS_SPENT: u8 = 9;

/// How long what is owed waits for its payees before it goes to the client.
pub const KEEP_OWED: i64 = 90 * 24 * 3600;

/// Slots that pass at most in a second of a period; real slots are faster, so only a halt makes these bind.
const SLOTS_A_SECOND: u64 = 2;

/// What is due to each payee, in base units.
#[derive(Clone, Copy, Default)]
pub struct Due {
    pub node: u64,
    pub fee: u64,
    pub client: u64,
}

impl Job {
    #[inline(always)]
    pub fn require(&self, state: u8) -> Result {
        ensure(self.state == state, Error::WrongJobState)
    }

    #[inline(always)]
    pub fn is_native(&self) -> bool {
        self.payment_mint == NO_KEY
    }

    #[inline(always)]
    pub fn is_terminal(&self) -> bool {
        self.state >= JobState::SETTLED
    }

    #[inline(always)]
    pub fn is_stopped(&self) -> bool {
        self.stopped_at.get() != 0
    }

    #[inline(always)]
    pub fn is_worked_on(&self) -> bool {
        self.state == JobState::CLAIMED || self.state == JobState::RUNNING
    }

    /// The deadline has passed in time and in slots: a halted chain, whose time jumps, counts by slots.
    #[inline(always)]
    pub fn passed(&self, now: Now) -> bool {
        now.time >= self.deadline.get() && now.slot >= self.deadline_slot.get()
    }

    /// The present state ends this many seconds from now.
    #[inline(always)]
    pub fn set_deadline(&mut self, now: Now, seconds: u32) {
        self.deadline.set(now.time.saturating_add(seconds as i64));
        self.deadline_slot.set(now.slot.saturating_add(SLOTS_A_SECOND * seconds as u64));
    }

    /// When a running job ends at the latest, whatever its node says: billed time and grace are over.
    #[inline(always)]
    fn last_end(&self) -> i64 {
        let grace = self.finish_grace.get() as i64;
        let billed = self.started_at.get().saturating_add(self.timeout.get() as i64);
        let end = if self.is_stopped() { self.stopped_at.get().min(billed) } else { billed };
        end.saturating_add(grace)
    }

    /// First of the last end and the last sign of life + heartbeat_timeout.
    #[inline(always)]
    fn running_deadline(&self) -> i64 {
        let seen = self.started_at.get().max(self.checkpoint_at.get());
        match self.heartbeat_timeout.get() {
            0 => self.last_end(),
            limit => self.last_end().min(seen.saturating_add(limit as i64)),
        }
    }

    /// Recomputes a running job's deadline. Its slot never comes nearer, so that a sign of life just after a halt
    /// doesn't give up the slots that the halt is owed.
    #[inline(always)]
    pub fn refresh_deadline(&mut self, now: Now) {
        let deadline = self.running_deadline();
        let seconds = deadline.saturating_sub(now.time).max(0) as u64;
        let slot = now.slot.saturating_add(SLOTS_A_SECOND.saturating_mul(seconds));
        self.deadline.set(deadline);
        self.deadline_slot.set(slot.max(self.deadline_slot.get()));
    }

    /// Billing starts now.
    #[inline(always)]
    pub fn start(&mut self, now: Now) {
        self.state = JobState::RUNNING;
        self.started_at.set(now.time);
        self.deadline_slot.set(0);
        self.refresh_deadline(now);
    }

    /// Billing ends now; the deadline comes nearer, unless a missing sign of life would end the job even sooner.
    #[inline(always)]
    pub fn stop(&mut self, now: Now) {
        self.stopped_at.set(now.time);
        if self.running_deadline() < self.deadline.get() {
            self.deadline_slot.set(0);
            self.refresh_deadline(now);
        }
    }

    /// Back to the queue. Without attempts left, or stopped by its client, nobody can claim it and its deadline
    /// has passed at once, so that anyone can have the client refunded.
    #[inline(always)]
    pub fn requeue(&mut self, now: Now, reason: u8) {
        self.state = JobState::QUEUED;
        self.reason = reason;
        self.queued_slot.set(now.slot);
        self.claimed_at.set(0);
        self.started_at.set(0);
        self.secrets_cid = Cid::NONE;
        let claimable = self.attempts < self.max_attempts && !self.is_stopped();
        let seconds = if claimable { self.queue_timeout.get() } else { 0 };
        self.set_deadline(now, seconds);
    }

    /// A result is posted: fixes the billed seconds.
    #[inline(always)]
    pub fn end(&mut self, now: Now) {
        self.ended_at.set(now.time);
        let end = if self.is_stopped() { self.stopped_at.get().min(now.time) } else { now.time };
        let ran = end.saturating_sub(self.started_at.get());
        // Not `clamp`: its panic would bring in the formatting of numbers.
        self.used.set(ran.max(1).min(self.timeout.get() as i64) as u32);
    }

    /// `price x used`; at most the deposit.
    #[inline(always)]
    pub fn gross(&self) -> Result<u64> {
        amount(self.price.get(), self.used.get())
    }

    /// How a gross is shared out: fee, the node's rest, and what is left of the deposit, and a bond, to the client.
    #[inline(always)]
    pub fn split(&self, gross: u64) -> Result<Due> {
        let fee = share(gross, self.fee_bps.get());
        let rest = self.deposit.get().checked_sub(gross).ok_or(Error::Overflow)?;
        let client = rest.checked_add(self.bond.get()).ok_or(Error::Overflow)?;
        Ok(Due { node: gross - fee, fee, client })
    }

    /// Enters a terminal state. What is due stands in `owed_*` until it is delivered.
    #[inline(always)]
    pub fn conclude(&mut self, state: u8, due: Due, now: Now) {
        self.state = state;
        self.settled_at.set(now.time);
        if self.ended_at.get() == 0 {
            self.ended_at.set(now.time);
        }
        self.owed_node.set(due.node);
        self.owed_fee.set(due.fee);
        self.owed_client.set(due.client);
    }

    /// Enters a terminal state without a result: everything goes back to the client.
    #[inline(always)]
    pub fn refund(&mut self, state: u8, now: Now) {
        let due = Due { client: self.deposit.get(), ..Due::default() };
        self.conclude(state, due, now);
    }
}

/// `price x seconds` in base units; refused where it doesn't fit.
#[inline(always)]
pub fn amount(price: u64, seconds: u32) -> Result<u64> {
    u64::try_from(price as u128 * seconds as u128).map_err(|_| Error::Overflow.into())
}
