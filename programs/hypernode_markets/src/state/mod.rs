//! What the program stores.

pub mod job;
pub mod layout;
pub mod market;
pub mod node;

pub use job::{Job, JobState};
pub use market::{Market, MarketTerms};
pub use node::{Node, NodeSpecs};

use pinocchio::sysvars::{clock::Clock, Sysvar};

use crate::guard::Result;

/// The longest period that terms may name: 30 days.
pub const MAX_PERIOD: u32 = 30 * 24 * 3600;

/// The whole in basis points.
pub const WHOLE: u16 = 10_000;

/// Time and slot of this instruction.
#[derive(Clone, Copy)]
pub struct Now {
    pub time: i64,
    pub slot: u64,
}

impl Now {
    #[inline(always)]
    pub fn read() -> Result<Self> {
        let clock = Clock::get()?;
        Ok(Self { time: clock.unix_timestamp, slot: clock.slot })
    }
}

/// `amount x bps / 10,000`, rounded down; in whole and rest, so that no product exceeds 64 bits.
#[inline(always)]
pub fn share(amount: u64, bps: u16) -> u64 {
    let (bps, whole) = (bps.min(WHOLE) as u64, WHOLE as u64);
    amount / whole * bps + amount % whole * bps / whole
}
