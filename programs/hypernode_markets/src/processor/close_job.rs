//! Removes a finished job; all that is left goes to the client.

use pinocchio::{AccountView, Address};

use crate::error::Error;
use crate::escrow::Pay;
use crate::event::JobClosed;
use crate::guard::{at, ensure, load_mut, signer, writable, Result};
use crate::instruction::CloseJob;
use crate::state::job::KEEP_OWED;
use crate::state::{Job, Now};

#[inline(never)]
pub fn process(program: &Address, accounts: &[AccountView], _: &CloseJob) -> Result {
    let [caller, job, client, payout_to, client_to, fee_to, escrow, token_program, ..] = accounts else {
        return Err(Error::NotEnoughAccounts.into());
    };
    signer(caller)?;
    let state = load_mut::<Job>(job, program)?;
    ensure(state.is_terminal(), Error::WrongJobState)?;
    at(client, &state.client)?;
    writable(client)?;
    let pay = Pay { program, job, payout_to, client_to, fee_to, escrow, token_program };
    // What others are owed is delivered first where it can be; a job that is old enough keeps nothing for them.
    let (owed_node, owed_fee) = (state.owed_node.get(), state.owed_fee.get());
    if owed_node > 0 || owed_fee > 0 {
        pay.deliver(state, false)?;
    }
    let settled = state.owed_node.get() == 0 && state.owed_fee.get() == 0;
    let old = Now::read()?.time.saturating_sub(state.settled_at.get()) >= KEEP_OWED;
    if !old {
        ensure(caller.address() == &state.client, Error::WrongAuthority)?;
        ensure(settled, Error::StillOwed)?;
    }
    JobClosed::emit(*job.address());
    pay.close(client, state)
}
