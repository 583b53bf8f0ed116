//! The client disputes a submitted result before the review is over, with a bond that it may lose.

use pinocchio::{AccountView, Address};

use crate::error::Error;
use crate::escrow::Fund;
use crate::event::JobDisputed;
use crate::guard::{authority, ensure, load_mut, Result};
use crate::instruction::DisputeResult;
use crate::state::{share, Job, JobState, Now};

#[inline(never)]
pub fn process(program: &Address, accounts: &[AccountView], args: &DisputeResult) -> Result {
    let [client, job, from, escrow, token_program, system_program, ..] = accounts else {
        return Err(Error::NotEnoughAccounts.into());
    };
    let state = load_mut::<Job>(job, program)?;
    authority(client, &state.client)?;
    state.require(JobState::SUBMITTED)?;
    let now = Now::read()?;
    ensure(!state.passed(now), Error::DeadlinePassed)?;
    state.reason_cid = args.reason_cid.required()?;

    let bond = share(state.deposit.get(), state.bond_bps.get());
    if bond > 0 {
        let fund = Fund { program, client, job, from, escrow, token_program, system_program };
        fund.deposit(state, bond)?;
    }
    state.bond.set(bond);
    state.state = JobState::DISPUTED;
    state.set_deadline(now, state.resolve_timeout.get());
    JobDisputed::emit(*job.address(), bond);
    Ok(())
}
