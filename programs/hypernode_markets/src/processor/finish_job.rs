//! The node posts the result: it is paid at once, or after the review. Late is fine until someone times it out.

use pinocchio::{AccountView, Address};

use super::settlement::{acting, settle};
use crate::error::Error;
use crate::escrow::Pay;
use crate::event::JobSubmitted;
use crate::guard::{load_mut, Result};
use crate::instruction::FinishJob;
use crate::state::{Job, JobState, Node, Now};

#[inline(never)]
pub fn process(program: &Address, accounts: &[AccountView], args: &FinishJob) -> Result {
    let [owner, node, job, payout_to, client_to, fee_to, escrow, token_program, ..] = accounts else {
        return Err(Error::NotEnoughAccounts.into());
    };
    let worker = load_mut::<Node>(node, program)?;
    let state = load_mut::<Job>(job, program)?;
    acting(owner, worker, node.address(), state)?;
    state.require(JobState::RUNNING)?;
    state.result_cid = args.result_cid.required()?;
    state.result_hash = args.result_hash;
    state.exit_status = args.exit_status;

    let now = Now::read()?;
    state.reason = 0;
    state.end(now);
    worker.end_work();
    worker.last_seen.set(now.time);
    if state.review_period.get() == 0 {
        let pay = Pay { program, job, payout_to, client_to, fee_to, escrow, token_program };
        return settle(state, worker, &pay, now);
    }
    state.state = JobState::SUBMITTED;
    state.set_deadline(now, state.review_period.get());
    JobSubmitted::emit(*job.address(), state.node, state.exit_status);
    Ok(())
}
