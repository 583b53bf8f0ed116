//! Says that the node lives, and whether it takes jobs.

use pinocchio::{AccountView, Address};

use crate::error::Error;
use crate::guard::{authority, ensure, load_mut, Result};
use crate::instruction::HeartbeatNode;
use crate::state::node::{ACTIVE, DRAINING};
use crate::state::{Node, Now};

#[inline(never)]
pub fn process(program: &Address, accounts: &[AccountView], args: &HeartbeatNode) -> Result {
    let [owner, node, ..] = accounts else {
        return Err(Error::NotEnoughAccounts.into());
    };
    let state = load_mut::<Node>(node, program)?;
    authority(owner, &state.authority)?;
    let known = args.state == ACTIVE || args.state == DRAINING;
    ensure(known, Error::InvalidNodeState)?;
    state.state = args.state;
    state.last_seen.set(Now::read()?.time);
    Ok(())
}
