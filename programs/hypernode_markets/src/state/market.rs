//! A market: its terms are copied into each job when it is created.

use pinocchio::Address;

use super::layout::{account, wire, Cid, NO_KEY, U16, U32, U64};
use super::{MAX_PERIOD, WHOLE};
use crate::error::Error;
use crate::guard::{ensure, Result};

account! {
    /// At ["market", authority, market_id].
    Market, 320 bytes {
        0 discriminator: [u8; 8],
        8 version: u8,
        9 bump: u8,
        10 paused: u8,
        11 start_credit: u8,
        12 fee_bps: U16,
        14 slash_bps: U16,
        16 bond_bps: U16,
        18 claim_spread_slots: U16,
        20 max_capacity: U16,
        22 max_attempts: u8,
        23 flags: u8,
        24 market_id: U64,
        32 authority: Address,
        64 arbiter: Address,
        96 payment_mint: Address,
        128 stake_mint: Address,
        160 fee_receiver: Address,
        192 min_price: U64,
        200 min_stake: U64,
        208 lock_per_job: U64,
        216 credit_pay: U64,
        224 max_timeout: U32,
        228 setup_timeout: U32,
        232 queue_timeout: U32,
        236 review_period: U32,
        240 resolve_timeout: U32,
        244 heartbeat_timeout: U32,
        248 finish_grace: U32,
        252 unstake_cooldown: U32,
        256 created_slot: U64,
        264 revision: U32,
        268 spec_cid: Cid,
        304 rsv: [u8; 16],
    }
}

wire! {
    /// What a market's authority sets. Periods in seconds, shares in basis points.
    MarketTerms {
        fee_bps: U16,
        slash_bps: U16,
        bond_bps: U16,
        claim_spread_slots: U16,
        max_capacity: U16,
        start_credit: u8,
        max_attempts: u8,
        flags: u8,
        arbiter: Address,
        fee_receiver: Address,
        min_price: U64,
        min_stake: U64,
        lock_per_job: U64,
        credit_pay: U64,
        max_timeout: U32,
        setup_timeout: U32,
        queue_timeout: U32,
        review_period: U32,
        resolve_timeout: U32,
        heartbeat_timeout: U32,
        finish_grace: U32,
        unstake_cooldown: U32,
        spec_cid: Cid,
    }
}

/// Bits that `flags` may have: 1 jobs may have network, 2 results must be pinned.
const KNOWN_FLAGS: u8 = 3;
/// The best credit that there is.
pub const MAX_CREDIT: u16 = 200;

impl MarketTerms {
    /// Refuses terms that would lock money up, promise what isn't there, or can't be meant.
    #[inline(never)]
    pub fn check(&self, stake_mint: &Address, program: &Address) -> Result {
        let shares = [&self.fee_bps, &self.slash_bps, &self.bond_bps];
        ensure(shares.iter().all(|s| s.get() <= WHOLE), Error::InvalidShare)?;
        ensure(self.start_credit as u16 <= MAX_CREDIT, Error::InvalidCredit)?;
        ensure(self.flags & !KNOWN_FLAGS == 0, Error::InvalidFlags)?;
        let counted = self.max_attempts > 0 && self.max_capacity.get() > 0;
        ensure(counted, Error::InvalidCapacity)?;
        self.check_periods()?;
        let payable = self.fee_receiver != NO_KEY && &self.fee_receiver != program;
        ensure(self.fee_bps.get() == 0 || payable, Error::InvalidFeeReceiver)?;
        ensure(&self.fee_receiver != program, Error::InvalidFeeReceiver)?;
        let staking = self.min_stake.get() != 0 || self.lock_per_job.get() != 0;
        ensure(!staking || stake_mint != &NO_KEY, Error::StakeWithoutMint)?;
        self.spec_cid.optional()?;
        Ok(())
    }

    fn check_periods(&self) -> Result {
        let needed = [&self.max_timeout, &self.setup_timeout, &self.queue_timeout, &self.finish_grace];
        let others =
            [&self.review_period, &self.resolve_timeout, &self.heartbeat_timeout, &self.unstake_cooldown];
        let short = |period: &&U32| period.get() <= MAX_PERIOD;
        ensure(needed.iter().all(short) && others.iter().all(short), Error::InvalidPeriod)?;
        ensure(needed.iter().all(|period| period.get() > 0), Error::InvalidPeriod)?;
        let reviewed = self.review_period.get() > 0;
        let resolvable = self.resolve_timeout.get() > 0 && self.arbiter != NO_KEY;
        ensure(!reviewed || resolvable, Error::InvalidReview)?;
        let window = self.claim_spread_slots.get() as u64;
        ensure(window <= 2 * self.queue_timeout.get() as u64, Error::WindowTooLong)
    }
}

impl Market {
    #[inline(never)]
    pub fn set_terms(&mut self, terms: &MarketTerms) {
        self.fee_bps = terms.fee_bps;
        self.slash_bps = terms.slash_bps;
        self.bond_bps = terms.bond_bps;
        self.claim_spread_slots = terms.claim_spread_slots;
        self.max_capacity = terms.max_capacity;
        self.start_credit = terms.start_credit;
        self.max_attempts = terms.max_attempts;
        self.flags = terms.flags;
        self.arbiter = terms.arbiter;
        self.fee_receiver = terms.fee_receiver;
        self.min_price = terms.min_price;
        self.min_stake = terms.min_stake;
        self.lock_per_job = terms.lock_per_job;
        self.credit_pay = terms.credit_pay;
        self.max_timeout = terms.max_timeout;
        self.setup_timeout = terms.setup_timeout;
        self.queue_timeout = terms.queue_timeout;
        self.review_period = terms.review_period;
        self.resolve_timeout = terms.resolve_timeout;
        self.heartbeat_timeout = terms.heartbeat_timeout;
        self.finish_grace = terms.finish_grace;
        self.unstake_cooldown = terms.unstake_cooldown;
        self.spec_cid = terms.spec_cid;
    }
}
