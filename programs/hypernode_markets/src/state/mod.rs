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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_equals_the_product_in_128_bits() {
        for amount in [0, 1, 9_999, 10_000, 10_001, 123_456_789, u64::MAX - 1, u64::MAX] {
            for bps in [0, 1, 99, 5_000, 9_999, 10_000] {
                let exact = amount as u128 * bps as u128 / 10_000;
                assert_eq!(share(amount, bps) as u128, exact);
            }
        }
    }
}
