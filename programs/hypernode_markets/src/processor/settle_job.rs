//! Settles a submitted job (its client at once, anyone after the review) or a disputed one that nobody decided, or
//! pays what a finished job still owes.

use pinocchio::{AccountView, Address};

use super::settlement::{holder, settle};
use crate::error::Error;
use crate::escrow::Pay;
use crate::event::JobDelivered;
use crate::guard::{ensure, load_mut, signer, Result};
use crate::instruction::SettleJob;
use crate::state::{Job, JobState, Now};

#[inline(never)]
pub fn process(program: &Address, accounts: &[AccountView], _: &SettleJob) -> Result {
    let [caller, job, node, payout_to, client_to, fee_to, escrow, token_program, ..] = accounts else {
        return Err(Error::NotEnoughAccounts.into());
    };
    signer(caller)?;
    let state = load_mut::<Job>(job, program)?;
    let pay = Pay { program, job, payout_to, client_to, fee_to, escrow, token_program };
    if state.is_terminal() {
        return deliver(state, &pay);
    }
    let now = Now::read()?;
    let due = match state.state {
        JobState::SUBMITTED => caller.address() == &state.client || state.passed(now),
        // Nobody decided in time: the result is paid in full, and the bond goes back.
        JobState::DISPUTED => state.passed(now),
        _ => return Err(Error::WrongJobState.into()),
    };
    ensure(due, Error::DeadlineNotPassed)?;
    let worker = holder(node, state, program)?;
    settle(state, worker, &pay, now)
}

/// Pays what is owed to those whose accounts are given and can receive it now.
fn deliver(state: &mut Job, pay: &Pay) -> Result {
    let owed = [&state.owed_node, &state.owed_fee, &state.owed_client];
    ensure(owed.iter().any(|o| o.get() > 0), Error::NothingOwed)?;
    let delivered = pay.deliver(state, false)?;
    ensure(delivered, Error::NothingDelivered)?;
    JobDelivered::emit(*pay.job.address(), state.owed_node, state.owed_fee, state.owed_client);
    Ok(())
}
