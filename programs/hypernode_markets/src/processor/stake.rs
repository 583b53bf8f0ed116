//! Adds stake to a node, from anyone, or while it drains from its own wallets. The first stake makes the node's vault.

use pinocchio::{AccountView, Address};

use crate::error::Error;
use crate::event::NodeStaked;
use crate::guard::{at, ensure, load, load_mut, program_is, signer, writable, Result, TOKEN};
use crate::instruction::Stake;
use crate::state::layout::NO_KEY;
use crate::state::node::ACTIVE;
use crate::state::{Market, Node};
use crate::vault;

#[inline(never)]
pub fn process(program: &Address, accounts: &[AccountView], args: &Stake) -> Result {
    let [funder, node, market, from, vault, stake_mint, token_program, system_program, ..] = accounts else {
        return Err(Error::NotEnoughAccounts.into());
    };
    signer(funder)?;
    writable(from)?;
    program_is(token_program, &TOKEN)?;
    let terms = load::<Market>(market, program)?;
    let state = load_mut::<Node>(node, program)?;
    ensure(&state.market == market.address(), Error::WrongMarket)?;
    ensure(state.market_slot == terms.created_slot, Error::WrongMarket)?;
    ensure(terms.stake_mint != NO_KEY, Error::StakeNotSupported)?;
    at(stake_mint, &terms.stake_mint)?;
    // A node leaves without stake: a stranger's base unit each cooldown would keep it for ever.
    if state.state != ACTIVE {
        state.owned(funder)?;
    }
    let amount = args.amount.get();
    ensure(amount > 0, Error::InvalidAmount)?;
    let staked = state.staked.get().checked_add(amount).ok_or(Error::Overflow)?;

    if state.stake_bump == 0 {
        state.stake_bump = vault::open(funder, node, vault, stake_mint, system_program, program)?;
    } else {
        vault::verify(vault, node, state, program)?;
    }
    vault::pay_in(funder, from, vault, stake_mint, amount)?;
    state.staked.set(staked);
    NodeStaked::emit(*node.address(), amount, staked);
    Ok(())
}
