//! How jobs leave their nodes and reach a terminal state: shared by the instructions that end them.

use pinocchio::{AccountView, Address};

use crate::error::Error;
use crate::escrow::Pay;
use crate::event::JobEnded;
use crate::guard::{ensure, load_mut, needed, Result};
use crate::state::{Job, JobState, Node, Now};

/// The node that has the job, from an optional account.
#[inline(always)]
pub fn holder<'a>(account: &'a AccountView, job: &Job, program: &Address) -> Result<&'a mut Node> {
    let account = needed(account, program)?;
    ensure(account.address() == &job.node, Error::WrongNode)?;
    load_mut::<Node>(account, program)
}

/// The signer's node, which has the job.
#[inline(always)]
pub fn acting(authority: &AccountView, node: &Node, address: &Address, job: &Job) -> Result {
    crate::guard::authority(authority, &node.authority)?;
    ensure(address == &job.node, Error::WrongNode)
}

/// Pays a posted result: the node its share of the gross, the fee, the client the rest.
#[inline(always)]
pub fn settle(job: &mut Job, node: &mut Node, pay: &Pay, now: Now) -> Result {
    let gross = job.gross()?;
    let due = job.split(gross)?;
    node.let_go(job.lock.get());
    node.settled(job, gross, due.node, now);
    job.conclude(JobState::SETTLED, due, now);
    finish(job, pay, 0)
}

/// Delivers what a job that has just ended owes, and tells.
#[inline(never)]
pub fn finish(job: &mut Job, pay: &Pay, slashed: u64) -> Result {
    pay.deliver(job, true)?;
    JobEnded::emit(
        *pay.job.address(),
        job.node,
        job.state,
        job.reason,
        slashed,
        job.paid,
        job.fee,
        job.refunded,
        job.owed_node,
        job.owed_fee,
        job.owed_client,
    );
    Ok(())
}
