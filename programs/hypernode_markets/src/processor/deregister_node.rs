//! Removes a node that has neither open jobs nor stake; its rent goes to the payout wallet.

use pinocchio::{AccountView, Address};

use crate::error::Error;
use crate::escrow::close_account;
use crate::event::NodeDeregistered;
use crate::guard::{at, ensure, load_mut, signer, Result};
use crate::instruction::DeregisterNode;
use crate::state::Node;

#[inline(never)]
pub fn process(program: &Address, accounts: &[AccountView], _: &DeregisterNode) -> Result {
    let [owner, node, payout, _vault, _stake_mint, _token_program, ..] = accounts else {
        return Err(Error::NotEnoughAccounts.into());
    };
    let state = load_mut::<Node>(node, program)?;
    signer(owner)?;
    let theirs = owner.address() == &state.authority || owner.address() == &state.payout;
    ensure(theirs, Error::WrongAuthority)?;
    at(payout, &state.payout)?;
    ensure(state.open_jobs.get() == 0, Error::NodeHasJobs)?;
    ensure(state.staked.get() == 0 && state.slashed.get() == 0, Error::NodeHasStake)?;
    NodeDeregistered::emit(*node.address(), state.market, 0);
    close_account(node, payout)
}
