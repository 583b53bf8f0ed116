//! Removes a node that has neither open jobs nor stake; its rent goes to the payout wallet.

use pinocchio::{AccountView, Address};

use crate::error::Error;
use crate::escrow::close_account;
use crate::event::NodeDeregistered;
use crate::guard::{at, ensure, load_mut, needed, program_is, writable, Result, TOKEN};
use crate::instruction::DeregisterNode;
use crate::state::Node;
use crate::vault;

#[inline(never)]
pub fn process(program: &Address, accounts: &[AccountView], _: &DeregisterNode) -> Result {
    let [owner, node, payout, vault, stake_mint, token_program, ..] = accounts else {
        return Err(Error::NotEnoughAccounts.into());
    };
    let state = load_mut::<Node>(node, program)?;
    state.owned(owner)?;
    at(payout, &state.payout)?;
    writable(payout)?;
    ensure(state.open_jobs.get() == 0, Error::NodeHasJobs)?;
    ensure(state.staked.get() == 0, Error::NodeHasStake)?;

    let mut burnt = 0;
    if state.stake_bump != 0 {
        // What is left is slashed stake and gifts: nobody gains it.
        let vault = needed(vault, program)?;
        program_is(token_program, &TOKEN)?;
        vault::verify(vault, node, state, program)?;
        burnt = vault::burn_and_close(node, state, vault, needed(stake_mint, program)?, payout)?;
    }
    NodeDeregistered::emit(*node.address(), state.market, burnt);
    close_account(node, payout)
}
