//! The client posts secrets that are sealed to the key of the node that has the job.

use pinocchio::{AccountView, Address};

use crate::error::Error;
use crate::event::JobSecretsShared;
use crate::guard::{authority, ensure, load_mut, Result};
use crate::instruction::ShareSecrets;
use crate::state::Job;

#[inline(never)]
pub fn process(program: &Address, accounts: &[AccountView], args: &ShareSecrets) -> Result {
    let [client, job, ..] = accounts else {
        return Err(Error::NotEnoughAccounts.into());
    };
    let state = load_mut::<Job>(job, program)?;
    authority(client, &state.client)?;
    ensure(state.is_worked_on(), Error::WrongJobState)?;
    state.secrets_cid = args.secrets_cid.required()?;
    JobSecretsShared::emit(*job.address());
    Ok(())
}
