//! Makes a job and pays price x timeout into its escrow.

use pinocchio::cpi::Seed;
use pinocchio::{AccountView, Address};

use crate::error::Error;
use crate::escrow::{Fund, NewAccount, JOB_BYTES};
use crate::event::JobCreated;
use crate::guard::{at, derived, ensure, fresh, load, needed, program_is, signer, Result, DERIVED, SYSTEM};
use crate::instruction::CreateJob;
use crate::state::job::{amount, Requirements};
use crate::state::layout::{Account, NO_KEY, VERSION};
use crate::state::node::{HIGH, MAX_GPU_VENDOR};
use crate::state::{Job, JobState, Market, Now};

/// A node's frameworks are 64 bits.
const MAX_FRAMEWORK: u8 = 63;

#[inline(never)]
pub fn process(program: &Address, accounts: &[AccountView], args: &CreateJob) -> Result {
    let [client, market, job, payment_mint, from, escrow, token_program, system_program, ..] = accounts
    else {
        return Err(Error::NotEnoughAccounts.into());
    };
    signer(client)?;
    program_is(system_program, &SYSTEM)?;
    let terms = load::<Market>(market, program)?;
    check(terms, args)?;
    let deposit = amount(args.price.get(), args.timeout.get())?;

    let native = terms.payment_mint == NO_KEY;
    let (market_key, client_key) = (market.address().as_array(), client.address().as_array());
    let (nonce, bump) = (args.nonce.bytes(), core::slice::from_ref(&args.bump));
    derived(job, &[b"job", market_key, client_key, nonce, bump, program.as_array(), DERIVED])?;
    let seeds = [
        Seed::from(b"job"),
        Seed::from(market_key),
        Seed::from(client_key),
        Seed::from(nonce),
        Seed::from(bump),
    ];
    NewAccount {
        payer: client,
        account: job,
        bytes: JOB_BYTES,
        owner: program,
        deposit: if native { deposit } else { 0 },
        seeds: &seeds,
    }
    .create()?;
    // SAFETY: just created with this size and owner; no other reference to it exists.
    let state = unsafe { fresh::<Job>(job) };
    fill(state, args, terms, deposit)?;
    state.market = *market.address();
    state.client = *client.address();
    if !native {
        let fund = Fund { program, client, job, from, escrow, token_program, system_program };
        let mint = needed(payment_mint, program)?;
        at(mint, &terms.payment_mint)?;
        state.escrow = *escrow.address();
        fund.open(mint, args.escrow_bump)?;
        fund.deposit(state, deposit)?;
    }
    JobCreated::emit(*job.address(), state.market, state.client, deposit);
    Ok(())
}

fn check(terms: &Market, args: &CreateJob) -> Result {
    ensure(terms.paused == 0, Error::MarketPaused)?;
    ensure(args.revision == terms.revision, Error::RevisionChanged)?;
    ensure(args.price.get() >= terms.min_price.get(), Error::PriceTooLow)?;
    let timeout = args.timeout.get();
    ensure(timeout >= 1 && timeout <= terms.max_timeout.get(), Error::TimeoutOutOfRange)?;
    args.definition_cid.required()?;
    let Requirements { min_trust, gpu_vendor, framework, .. } = args.requirements;
    let known = min_trust <= HIGH && gpu_vendor <= MAX_GPU_VENDOR && framework <= MAX_FRAMEWORK;
    ensure(known, Error::InvalidRequirements)
}

/// Writes the new job: the client's wishes and the market's terms of this moment.
fn fill(state: &mut Job, args: &CreateJob, terms: &Market, deposit: u64) -> Result {
    let now = Now::read()?;
    state.discriminator = Job::DISCRIMINATOR;
    state.version = VERSION;
    state.bump = args.bump;
    state.nonce = args.nonce;
    state.definition_cid = args.definition_cid;
    state.price = args.price;
    state.timeout = args.timeout;
    state.min_trust = args.requirements.min_trust;
    state.gpu_vendor = args.requirements.gpu_vendor;
    state.gpu_count = args.requirements.gpu_count;
    state.vram_mb = args.requirements.vram_mb;
    state.framework = args.requirements.framework;

    state.max_attempts = terms.max_attempts;
    state.flags = terms.flags;
    state.claim_spread_slots = terms.claim_spread_slots;
    state.payment_mint = terms.payment_mint;
    state.fee_receiver = terms.fee_receiver;
    state.arbiter = terms.arbiter;
    state.fee_bps = terms.fee_bps;
    state.slash_bps = terms.slash_bps;
    state.bond_bps = terms.bond_bps;
    state.max_timeout = terms.max_timeout;
    state.setup_timeout = terms.setup_timeout;
    state.queue_timeout = terms.queue_timeout;
    state.review_period = terms.review_period;
    state.resolve_timeout = terms.resolve_timeout;
    state.heartbeat_timeout = terms.heartbeat_timeout;
    state.finish_grace = terms.finish_grace;
    state.lock = terms.lock_per_job;
    state.credit_pay = terms.credit_pay;
    state.market_slot = terms.created_slot;

    state.state = JobState::QUEUED;
    state.deposit.set(deposit);
    state.created_at.set(now.time);
    state.queued_slot.set(now.slot);
    state.set_deadline(now, terms.queue_timeout.get());
    Ok(())
}
