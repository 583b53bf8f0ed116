//! The client buys more seconds.

use pinocchio::{AccountView, Address};

use crate::error::Error;
use crate::escrow::Fund;
use crate::event::JobExtended;
use crate::guard::{authority, ensure, load_mut, Result};
use crate::instruction::ExtendJob;
use crate::state::job::amount;
use crate::state::{Job, JobState, Now};

#[inline(never)]
pub fn process(program: &Address, accounts: &[AccountView], args: &ExtendJob) -> Result {
    let [client, job, from, escrow, token_program, system_program, ..] = accounts else {
        return Err(Error::NotEnoughAccounts.into());
    };
    let state = load_mut::<Job>(job, program)?;
    authority(client, &state.client)?;
    let now = Now::read()?;
    ensure(state.state <= JobState::RUNNING, Error::WrongJobState)?;
    ensure(!state.is_stopped(), Error::JobStopped)?;
    ensure(!state.passed(now), Error::DeadlinePassed)?;
    let seconds = args.seconds.get();
    ensure(seconds > 0, Error::InvalidAmount)?;
    let timeout = state.timeout.get().checked_add(seconds).ok_or(Error::Overflow)?;
    ensure(timeout <= state.max_timeout.get(), Error::TimeoutOutOfRange)?;
    let price = amount(state.price.get(), seconds)?;
    let deposit = state.deposit.get().checked_add(price).ok_or(Error::Overflow)?;

    if price > 0 {
        let fund = Fund { program, client, job, from, escrow, token_program, system_program };
        fund.deposit(state, price)?;
    }
    state.timeout.set(timeout);
    state.deposit.set(deposit);
    if state.state == JobState::RUNNING {
        state.refresh_deadline(now);
    }
    JobExtended::emit(*job.address(), timeout, deposit);
    Ok(())
}
