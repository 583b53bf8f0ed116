//! Removes a market. Jobs and nodes stay, and every exit of theirs works without it.

use pinocchio::{AccountView, Address};

use crate::error::Error;
use crate::escrow::close_account;
use crate::event::MarketClosed;
use crate::guard::{authority, ensure, load_mut, Result};
use crate::instruction::CloseMarket;
use crate::state::{Market, Now};

#[inline(never)]
pub fn process(program: &Address, accounts: &[AccountView], _: &CloseMarket) -> Result {
    let [owner, market, ..] = accounts else {
        return Err(Error::NotEnoughAccounts.into());
    };
    let state = load_mut::<Market>(market, program)?;
    authority(owner, &state.authority)?;
    // Made again now, the market's created_slot and revision are those of no earlier one: neither a node's claim nor a
    // client's create_job can meet terms that it hasn't seen.
    let slot = Now::read()?.slot;
    ensure(slot > state.created_slot.get(), Error::MarketTooNew)?;
    ensure(slot > state.revision.get() as u64, Error::MarketTooNew)?;
    MarketClosed::emit(*market.address());
    close_account(market, owner)
}
