//! Replaces a market's terms. Jobs that exist keep those they were created with.

use pinocchio::{AccountView, Address};

use crate::error::Error;
use crate::event::MarketUpdated;
use crate::guard::{authority, load_mut, Result};
use crate::instruction::UpdateMarket;
use crate::state::Market;

#[inline(never)]
pub fn process(program: &Address, accounts: &[AccountView], args: &UpdateMarket) -> Result {
    let [owner, market, ..] = accounts else {
        return Err(Error::NotEnoughAccounts.into());
    };
    let state = load_mut::<Market>(market, program)?;
    authority(owner, &state.authority)?;
    let paused = args.paused.get()?;
    args.terms.check(&state.stake_mint, program)?;

    state.set_terms(&args.terms);
    state.paused = paused as u8;
    let revision = state.revision.get().checked_add(1).ok_or(Error::Overflow)?;
    state.revision.set(revision);
    MarketUpdated::emit(*market.address(), revision, state.paused);
    Ok(())
}
