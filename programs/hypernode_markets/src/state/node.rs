//! A node: a wallet's registration in one market, with its reputation and stake.

use pinocchio::{AccountView, Address};

use super::job::Job;
use super::layout::{account, wire, Cid, I64, U16, U32, U64};
use super::market::MAX_CREDIT;
use super::{share, Now};
use crate::error::Error;
use crate::guard::{ensure, Result};

account! {
    /// At ["node", market, authority]; its stake is the token account at ["stake", node].
    Node, 320 bytes {
        0 discriminator: [u8; 8],
        8 version: u8,
        9 bump: u8,
        10 state: u8,
        11 isolation: u8,
        12 gpu_vendor: u8,
        13 gpu_count: u8,
        14 country: [u8; 2],
        16 market: Address,
        48 authority: Address,
        80 payout: Address,
        112 vram_mb: U32,
        116 ram_mb: U32,
        120 disk_gb: U32,
        124 cpu_cores: U16,
        126 capacity: U16,
        128 frameworks: U64,
        136 specs_cid: Cid,
        172 active_jobs: U16,
        174 credit: U16,
        176 open_jobs: U32,
        180 unstake_cooldown: U32,
        184 market_slot: U64,
        192 staked: U64,
        200 locked: U64,
        208 unstaking: U64,
        216 slashed: U64,
        224 unstake_at: I64,
        232 completed: U32,
        236 failed: U32,
        240 released: U32,
        244 abandoned: U32,
        248 disputes_lost: U32,
        252 stake_bump: u8,
        253 rsv0: [u8; 3],
        256 compute_seconds: U64,
        264 earned: U64,
        272 credited_at: I64,
        280 registered_at: I64,
        288 last_seen: I64,
        296 rsv: [u8; 24],
    }
}

wire! {
    /// What a node says it is.
    NodeSpecs {
        isolation: u8,
        gpu_vendor: u8,
        gpu_count: u8,
        country: [u8; 2],
        vram_mb: U32,
        ram_mb: U32,
        disk_gb: U32,
        cpu_cores: U16,
        frameworks: U64,
        specs_cid: Cid,
    }
}

/// Values of `Node.state`.
pub const ACTIVE: u8 = 0;
pub const DRAINING: u8 = 1;

/// Highest value of `gpu_vendor` that this version knows.
pub const MAX_GPU_VENDOR: u8 = 3;

/// Tiers of trust.
pub const LOW: u8 = 0;
pub const NORMAL: u8 = 1;
pub const HIGH: u8 = 2;
const NORMAL_CREDIT: u16 = 50;
const HIGH_CREDIT: u16 = 100;

/// Credit is given at most once in this many seconds.
const CREDIT_PERIOD: i64 = 3600;
pub const LOSS_RELEASED_CLAIMED: u16 = 1;
pub const LOSS_RELEASED_RUNNING: u16 = 5;
pub const LOSS_TIMED_OUT: u16 = 10;
pub const LOSS_DISPUTE: u16 = 25;

impl NodeSpecs {
    pub fn check(&self) -> Result {
        let placed = self.country == [0, 0] || self.country.iter().all(u8::is_ascii_uppercase);
        let known = self.isolation <= 1 && self.gpu_vendor <= MAX_GPU_VENDOR;
        ensure(placed && known, Error::InvalidSpecs)?;
        self.specs_cid.optional()?;
        Ok(())
    }
}

impl Node {
    pub fn set_specs(&mut self, specs: &NodeSpecs) {
        self.isolation = specs.isolation;
        self.gpu_vendor = specs.gpu_vendor;
        self.gpu_count = specs.gpu_count;
        self.country = specs.country;
        self.vram_mb = specs.vram_mb;
        self.ram_mb = specs.ram_mb;
        self.disk_gb = specs.disk_gb;
        self.cpu_cores = specs.cpu_cores;
        self.frameworks = specs.frameworks;
        self.specs_cid = specs.specs_cid;
    }

    /// Tier of trust: from the credit, and low without a container.
    #[inline(always)]
    pub fn trust(&self) -> u8 {
        match self.credit.get() {
            _ if self.isolation == 0 => LOW,
            HIGH_CREDIT.. => HIGH,
            NORMAL_CREDIT.. => NORMAL,
            _ => LOW,
        }
    }

    /// The node has what the job asks for.
    #[inline(always)]
    pub fn able(&self, job: &Job) -> bool {
        (job.gpu_vendor == 0 || job.gpu_vendor == self.gpu_vendor)
            && job.gpu_count <= self.gpu_count
            && job.vram_mb.get() <= self.vram_mb.get()
            && self.frameworks.get() >> (job.framework & 63) & 1 == 1
    }

    /// Counts a job that this node has just claimed, and locks its stake.
    #[inline(always)]
    pub fn take(&mut self, lock: u64) -> Result {
        let locked = self.locked.get().checked_add(lock).ok_or(Error::Overflow)?;
        self.locked.set(locked);
        self.active_jobs.set(self.active_jobs.get().saturating_add(1));
        self.open_jobs.set(self.open_jobs.get().saturating_add(1));
        Ok(())
    }

    /// A claimed or running job is no longer worked on.
    #[inline(always)]
    pub fn end_work(&mut self) {
        self.active_jobs.set(self.active_jobs.get().saturating_sub(1));
    }

    /// A job is no longer this node's: its lock is free.
    #[inline(always)]
    pub fn let_go(&mut self, lock: u64) {
        self.open_jobs.set(self.open_jobs.get().saturating_sub(1));
        self.locked.set(self.locked.get().saturating_sub(lock));
    }

    #[inline(always)]
    pub fn lose_credit(&mut self, points: u16) {
        self.credit.set(self.credit.get().saturating_sub(points));
    }

    /// Takes a share of a job's lock out of the stake; it is burnt when the vault is next touched.
    #[inline(always)]
    pub fn slash(&mut self, lock: u64, bps: u16) -> u64 {
        let lost = share(lock, bps).min(self.staked.get());
        self.staked.set(self.staked.get() - lost);
        self.slashed.set(self.slashed.get().saturating_add(lost));
        lost
    }

    /// What no job has locked.
    #[inline(always)]
    pub fn free_stake(&self) -> u64 {
        self.staked.get().saturating_sub(self.locked.get())
    }

    /// The signer is the node's authority or its payout wallet.
    #[inline(always)]
    pub fn owned(&self, signer: &AccountView) -> Result {
        crate::guard::signer(signer)?;
        let theirs = signer.address() == &self.authority || signer.address() == &self.payout;
        ensure(theirs, Error::WrongAuthority)
    }

    /// A job of this node is settled: counters, earnings and, at most once an hour, a point of credit.
    #[inline(always)]
    pub fn settled(&mut self, job: &Job, gross: u64, net: u64, now: Now) {
        if job.exit_status.get() == 0 {
            self.completed.set(self.completed.get().saturating_add(1));
        } else {
            self.failed.set(self.failed.get().saturating_add(1));
        }
        let seconds = self.compute_seconds.get().saturating_add(job.used.get() as u64);
        self.compute_seconds.set(seconds);
        self.earned.set(self.earned.get().saturating_add(net));
        let own = job.client == self.authority || job.client == self.payout || job.client == job.payout;
        let rested = now.time.saturating_sub(self.credited_at.get()) >= CREDIT_PERIOD;
        if gross >= job.credit_pay.get() && rested && !own {
            self.credit.set(self.credit.get().saturating_add(1).min(MAX_CREDIT));
            self.credited_at.set(now.time);
        }
    }
}
