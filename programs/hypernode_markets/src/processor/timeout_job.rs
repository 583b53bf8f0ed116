//! Ends a state whose deadline has passed; anyone may call. No money can stay with a node that is gone.

use pinocchio::{AccountView, Address};

use super::settlement::{finish, holder};
use crate::error::Error;
use crate::escrow::Pay;
use crate::event::JobRequeued;
use crate::guard::{ensure, load_mut, Result};
use crate::instruction::TimeoutJob;
use crate::state::job::{ATTEMPTS_SPENT, STOPPED, TIMED_OUT};
use crate::state::node::LOSS_TIMED_OUT;
use crate::state::{Job, JobState, Node, Now};

#[inline(never)]
pub fn process(program: &Address, accounts: &[AccountView], _: &TimeoutJob) -> Result {
    let [job, node, payout_to, client_to, fee_to, escrow, token_program, ..] = accounts else {
        return Err(Error::NotEnoughAccounts.into());
    };
    let state = load_mut::<Job>(job, program)?;
    ensure(state.state <= JobState::RUNNING, Error::WrongJobState)?;
    let now = Now::read()?;
    ensure(state.passed(now), Error::DeadlineNotPassed)?;

    let mut slashed = 0;
    let worked_on = state.is_worked_on();
    if worked_on {
        slashed = abandon(holder(node, state, program)?, state);
    }
    let spent = state.attempts >= state.max_attempts;
    if worked_on && !spent && !state.is_stopped() {
        state.requeue(now, TIMED_OUT);
        JobRequeued::emit(*job.address(), state.node, TIMED_OUT, slashed);
        return Ok(());
    }
    state.reason = match (state.is_stopped(), spent) {
        (true, _) => STOPPED,
        (_, true) => ATTEMPTS_SPENT,
        _ => TIMED_OUT,
    };
    let pay = Pay { program, job, payout_to, client_to, fee_to, escrow, token_program };
    state.refund(JobState::EXPIRED, now);
    finish(state, &pay, slashed)
}

/// The node has let its job down: it loses the job, credit and stake.
#[inline(always)]
fn abandon(node: &mut Node, job: &Job) -> u64 {
    let lock = job.lock.get();
    node.end_work();
    node.let_go(lock);
    node.lose_credit(LOSS_TIMED_OUT);
    node.abandoned.set(node.abandoned.get().saturating_add(1));
    node.slash(lock, job.slash_bps.get())
}
