//! Makes a node, or updates what it says of itself.

use pinocchio::cpi::Seed;
use pinocchio::{AccountView, Address};

use crate::error::Error;
use crate::escrow::NewAccount;
use crate::event::NodeRegistered;
use crate::guard::{at, ensure, fresh, given, load, load_mut, program_is, signer, Result, SYSTEM};
use crate::instruction::RegisterNode;
use crate::state::layout::{Account, NO_KEY, VERSION};
use crate::state::{Market, Node, Now};

#[inline(never)]
pub fn process(program: &Address, accounts: &[AccountView], args: &RegisterNode) -> Result {
    let [authority, node, market, old_payout, system_program, ..] = accounts else {
        return Err(Error::NotEnoughAccounts.into());
    };
    signer(authority)?;
    let terms = load::<Market>(market, program)?;
    args.specs.check()?;
    ensure(args.capacity.get() > 0, Error::InvalidCapacity)?;
    let payable = args.payout != NO_KEY && &args.payout != program;
    ensure(payable, Error::InvalidPayout)?;

    let state = if node.owned_by(program) {
        let state = load_mut::<Node>(node, program)?;
        ensure(&state.authority == authority.address(), Error::WrongAuthority)?;
        ensure(&state.market == market.address(), Error::WrongMarket)?;
        ensure(state.market_slot == terms.created_slot, Error::WrongMarket)?;
        replace_payout(state, &args.payout, old_payout, program)?;
        state
    } else {
        program_is(system_program, &SYSTEM)?;
        open(program, authority, node, market, terms)?
    };
    state.payout = args.payout;
    state.capacity = args.capacity;
    state.set_specs(&args.specs);
    state.last_seen.set(Now::read()?.time);
    NodeRegistered::emit(*node.address(), state.market, state.authority);
    Ok(())
}

/// Whoever holds only the authority's key can't turn a node's pay to himself.
fn replace_payout(state: &Node, payout: &Address, old: &AccountView, program: &Address) -> Result {
    if payout == &state.payout || state.payout == state.authority {
        return Ok(());
    }
    let signed = given(old, program).is_some_and(|o| o.is_signer() && o.address() == &state.payout);
    ensure(signed, Error::PayoutNotSigned)
}

/// Makes a new node's account.
#[inline(always)]
fn open<'a>(
    program: &Address,
    authority: &AccountView,
    node: &'a AccountView,
    market: &AccountView,
    terms: &Market,
) -> Result<&'a mut Node> {
    let (market_key, authority_key) = (market.address().as_array(), authority.address().as_array());
    let seeds: [&[u8]; 3] = [b"node", market_key, authority_key];
    let (address, bump) = Address::find_program_address(&seeds, program);
    at(node, &address)?;
    let seeds = [
        Seed::from(b"node"),
        Seed::from(market_key),
        Seed::from(authority_key),
        Seed::from(core::slice::from_ref(&bump)),
    ];
    let (payer, bytes) = (authority, Node::LEN);
    NewAccount { payer, account: node, bytes, owner: program, deposit: 0, seeds: &seeds }.create()?;
    // SAFETY: just created with this size and owner; no other reference to it exists.
    let state = unsafe { fresh::<Node>(node) };
    state.discriminator = Node::DISCRIMINATOR;
    state.version = VERSION;
    state.bump = bump;
    state.market = *market.address();
    state.authority = *authority.address();
    state.market_slot = terms.created_slot;
    state.unstake_cooldown = terms.unstake_cooldown;
    state.credit.set(terms.start_credit as u16);
    state.registered_at.set(Now::read()?.time);
    Ok(state)
}
