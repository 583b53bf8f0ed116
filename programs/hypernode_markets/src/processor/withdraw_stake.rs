//! Pays out the stake that was asked back, after the cooldown, to the payout wallet; anyone may call.

use pinocchio::{AccountView, Address};

use crate::error::Error;
use crate::event::NodeUnstaked;
use crate::guard::{ensure, load_mut, program_is, Result, TOKEN};
use crate::instruction::WithdrawStake;
use crate::state::{Node, Now};
use crate::vault;

#[inline(never)]
pub fn process(program: &Address, accounts: &[AccountView], _: &WithdrawStake) -> Result {
    let [node, to, vault, token_program, ..] = accounts else {
        return Err(Error::NotEnoughAccounts.into());
    };
    program_is(token_program, &TOKEN)?;
    let state = load_mut::<Node>(node, program)?;
    let amount = state.unstaking.get();
    ensure(amount > 0, Error::NothingUnstaking)?;
    ensure(Now::read()?.time >= state.unstake_at.get(), Error::CooldownNotOver)?;
    vault::verify(vault, node, state, program)?;
    vault::pay_out(node, state, vault, to, amount)?;
    let staked = state.staked.get().checked_sub(amount).ok_or(Error::Overflow)?;
    state.staked.set(staked);
    state.unstaking.set(0);
    NodeUnstaked::emit(*node.address(), amount, staked);
    Ok(())
}
