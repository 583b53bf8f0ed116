//! The client ends billing now; the node has finish_grace to post what it has.

use pinocchio::{AccountView, Address};

use crate::error::Error;
use crate::event::JobStopped;
use crate::guard::{authority, ensure, load_mut, Result};
use crate::instruction::StopJob;
use crate::state::{Job, JobState, Now};

#[inline(never)]
pub fn process(program: &Address, accounts: &[AccountView], _: &StopJob) -> Result {
    let [client, job, ..] = accounts else {
        return Err(Error::NotEnoughAccounts.into());
    };
    let state = load_mut::<Job>(job, program)?;
    authority(client, &state.client)?;
    state.require(JobState::RUNNING)?;
    ensure(!state.is_stopped(), Error::JobStopped)?;
    state.stop(Now::read()?);
    JobStopped::emit(*job.address(), state.stopped_at);
    Ok(())
}
