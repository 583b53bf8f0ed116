//! Starts the cooldown of an amount of stake; replaces the last request, and 0 takes it back.

use pinocchio::{AccountView, Address};

use crate::error::Error;
use crate::event::NodeUnstaking;
use crate::guard::{ensure, load_mut, Result};
use crate::instruction::RequestUnstake;
use crate::state::{Node, Now};

#[inline(never)]
pub fn process(program: &Address, accounts: &[AccountView], args: &RequestUnstake) -> Result {
    let [owner, node, ..] = accounts else {
        return Err(Error::NotEnoughAccounts.into());
    };
    let state = load_mut::<Node>(node, program)?;
    state.owned(owner)?;
    ensure(args.amount.get() <= state.free_stake(), Error::NotEnoughStake)?;
    let cooldown = state.unstake_cooldown.get() as i64;
    state.unstaking = args.amount;
    state.unstake_at.set(Now::read()?.time.saturating_add(cooldown));
    NodeUnstaking::emit(*node.address(), state.unstaking, state.unstake_at);
    Ok(())
}
