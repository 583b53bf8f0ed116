//! The client takes a job back that has not begun; the whole deposit is refunded.

use pinocchio::{AccountView, Address};

use super::settlement::{finish, holder};
use crate::error::Error;
use crate::escrow::Pay;
use crate::guard::{authority, load_mut, Result};
use crate::instruction::CancelJob;
use crate::state::{Job, JobState, Now};

#[inline(never)]
pub fn process(program: &Address, accounts: &[AccountView], _: &CancelJob) -> Result {
    let [client, job, node, payout_to, client_to, fee_to, escrow, token_program, ..] = accounts else {
        return Err(Error::NotEnoughAccounts.into());
    };
    let state = load_mut::<Job>(job, program)?;
    authority(client, &state.client)?;
    match state.state {
        JobState::QUEUED => {}
        JobState::CLAIMED => {
            let node = holder(node, state, program)?;
            node.end_work();
            node.let_go(state.lock.get());
        }
        _ => return Err(Error::WrongJobState.into()),
    }
    let pay = Pay { program, job, payout_to, client_to, fee_to, escrow, token_program };
    state.refund(JobState::CANCELLED, Now::read()?);
    finish(state, &pay, 0)
}
