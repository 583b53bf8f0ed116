//! The node has set up the job; billing starts, on the node's word.

use pinocchio::{AccountView, Address};

use super::settlement::acting;
use crate::error::Error;
use crate::event::JobStarted;
use crate::guard::{ensure, load, load_mut, Result};
use crate::instruction::BeginJob;
use crate::state::{Job, JobState, Node, Now};

#[inline(never)]
pub fn process(program: &Address, accounts: &[AccountView], _: &BeginJob) -> Result {
    let [owner, node, job, ..] = accounts else {
        return Err(Error::NotEnoughAccounts.into());
    };
    let worker = load::<Node>(node, program)?;
    let state = load_mut::<Job>(job, program)?;
    acting(owner, worker, node.address(), state)?;
    state.require(JobState::CLAIMED)?;
    let now = Now::read()?;
    ensure(!state.passed(now), Error::DeadlinePassed)?;
    state.start(now);
    JobStarted::emit(*job.address(), state.node);
    Ok(())
}
