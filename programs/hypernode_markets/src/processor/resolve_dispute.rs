//! The arbiter decides how much of the gross is paid. Below a half the node has lost, and may be slashed.

use pinocchio::{AccountView, Address};

use super::settlement::{finish, holder};
use crate::error::Error;
use crate::escrow::Pay;
use crate::guard::{authority, ensure, load_mut, Result};
use crate::instruction::ResolveDispute;
use crate::state::node::LOSS_DISPUTE;
use crate::state::{share, Job, JobState, Now, WHOLE};

/// A share of the gross below this is a lost dispute.
const LOST_BELOW: u16 = 5_000;

#[inline(never)]
pub fn process(program: &Address, accounts: &[AccountView], args: &ResolveDispute) -> Result {
    let [arbiter, job, node, payout_to, client_to, fee_to, escrow, token_program, ..] = accounts else {
        return Err(Error::NotEnoughAccounts.into());
    };
    let state = load_mut::<Job>(job, program)?;
    authority(arbiter, &state.arbiter)?;
    state.require(JobState::DISPUTED)?;
    let worker = holder(node, state, program)?;
    let (pay_bps, slash_bps) = (args.pay_bps.get(), args.slash_bps.get());
    let lost = pay_bps < LOST_BELOW;
    let most = if lost { state.slash_bps.get() } else { 0 };
    ensure(pay_bps <= WHOLE && slash_bps <= most, Error::InvalidShare)?;

    let now = Now::read()?;
    let gross = share(state.gross()?, pay_bps);
    let mut due = state.split(gross)?;
    worker.let_go(state.lock.get());
    let mut slashed = 0;
    if lost {
        slashed = worker.slash(state.lock.get(), slash_bps);
        worker.lose_credit(LOSS_DISPUTE);
        worker.disputes_lost.set(worker.disputes_lost.get().saturating_add(1));
        worker.earned.set(worker.earned.get().saturating_add(due.node));
    } else {
        worker.settled(state, gross, due.node, now);
    }
    if pay_bps == WHOLE {
        // The client was wrong in everything: the bond is the node's.
        let bond = state.bond.get();
        due.client = due.client.checked_sub(bond).ok_or(Error::Overflow)?;
        due.node = due.node.checked_add(bond).ok_or(Error::Overflow)?;
    }
    state.conclude(JobState::SETTLED, due, now);
    let pay = Pay { program, job, payout_to, client_to, fee_to, escrow, token_program };
    finish(state, &pay, slashed)
}
