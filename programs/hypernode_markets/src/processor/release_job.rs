//! The node gives a job back to the queue.

use pinocchio::{AccountView, Address};

use super::settlement::acting;
use crate::error::Error;
use crate::event::JobRequeued;
use crate::guard::{ensure, load_mut, Result};
use crate::instruction::ReleaseJob;
use crate::state::job::MAX_NODE_REASON;
use crate::state::node::{LOSS_RELEASED_CLAIMED, LOSS_RELEASED_RUNNING};
use crate::state::{Job, JobState, Node, Now};

#[inline(never)]
pub fn process(program: &Address, accounts: &[AccountView], args: &ReleaseJob) -> Result {
    let [owner, node, job, ..] = accounts else {
        return Err(Error::NotEnoughAccounts.into());
    };
    let worker = load_mut::<Node>(node, program)?;
    let state = load_mut::<Job>(job, program)?;
    acting(owner, worker, node.address(), state)?;
    ensure(state.is_worked_on(), Error::WrongJobState)?;
    let given = (1..=MAX_NODE_REASON).contains(&args.reason);
    ensure(given, Error::InvalidReason)?;
    let now = Now::read()?;
    // Too late is timed out: a release must not save the node what a timeout costs.
    ensure(!state.passed(now), Error::DeadlinePassed)?;

    let running = state.state == JobState::RUNNING;
    worker.lose_credit(if running { LOSS_RELEASED_RUNNING } else { LOSS_RELEASED_CLAIMED });
    worker.released.set(worker.released.get().saturating_add(1));
    worker.end_work();
    worker.let_go(state.lock.get());
    state.requeue(now, args.reason);
    JobRequeued::emit(*job.address(), state.node, state.reason, 0);
    Ok(())
}
