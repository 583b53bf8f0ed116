//! Sign of life of a running job, with its progress and, where there is one, a checkpoint.

use pinocchio::{AccountView, Address};

use super::settlement::acting;
use crate::error::Error;
use crate::event::JobCheckpointed;
use crate::guard::{ensure, load, load_mut, Result};
use crate::instruction::CheckpointJob;
use crate::state::{Job, JobState, Node, Now, WHOLE};

#[inline(never)]
pub fn process(program: &Address, accounts: &[AccountView], args: &CheckpointJob) -> Result {
    let [owner, node, job, ..] = accounts else {
        return Err(Error::NotEnoughAccounts.into());
    };
    let worker = load::<Node>(node, program)?;
    let state = load_mut::<Job>(job, program)?;
    acting(owner, worker, node.address(), state)?;
    state.require(JobState::RUNNING)?;
    ensure(args.progress_bps.get() <= WHOLE, Error::InvalidProgress)?;
    let checkpoint = args.checkpoint_cid.optional()?;

    let now = Now::read()?;
    if !checkpoint.is_none() {
        state.checkpoint_cid = checkpoint;
        state.checkpoint_seq.set(state.checkpoint_seq.get().saturating_add(1));
    }
    state.progress_bps = args.progress_bps;
    state.checkpoint_at.set(now.time);
    state.refresh_deadline(now);
    JobCheckpointed::emit(*job.address(), state.checkpoint_seq, state.progress_bps);
    Ok(())
}
