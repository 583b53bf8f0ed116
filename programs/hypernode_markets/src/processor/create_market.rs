//! Makes a market. Its mints are fixed from here on.

use pinocchio::cpi::Seed;
use pinocchio::{AccountView, Address};

use crate::error::Error;
use crate::escrow::NewAccount;
use crate::event::MarketCreated;
use crate::guard::{at, fresh, given, mint, program_is, signer, Result, SYSTEM};
use crate::instruction::CreateMarket;
use crate::state::layout::{Account, NO_KEY, VERSION};
use crate::state::{Market, Now};

#[inline(never)]
pub fn process(program: &Address, accounts: &[AccountView], args: &CreateMarket) -> Result {
    let [authority, market, payment_mint, stake_mint, system_program, ..] = accounts else {
        return Err(Error::NotEnoughAccounts.into());
    };
    signer(authority)?;
    program_is(system_program, &SYSTEM)?;
    let payment = checked_mint(payment_mint, program)?;
    let stake = checked_mint(stake_mint, program)?;
    args.terms.check(&stake, program)?;

    let id = args.market_id.bytes();
    let seeds: [&[u8]; 3] = [b"market", authority.address().as_array(), id];
    let (address, bump) = Address::find_program_address(&seeds, program);
    at(market, &address)?;
    let seeds = [
        Seed::from(b"market"),
        Seed::from(authority.address().as_array()),
        Seed::from(id),
        Seed::from(core::slice::from_ref(&bump)),
    ];
    let (payer, bytes) = (authority, Market::LEN);
    NewAccount { payer, account: market, bytes, owner: program, deposit: 0, seeds: &seeds }.create()?;

    // SAFETY: just created with this size and owner; no other reference to it exists.
    let state = unsafe { fresh::<Market>(market) };
    state.discriminator = Market::DISCRIMINATOR;
    state.version = VERSION;
    state.bump = bump;
    state.market_id = args.market_id;
    state.authority = *authority.address();
    state.payment_mint = payment;
    state.stake_mint = stake;
    let slot = Now::read()?.slot;
    state.created_slot.set(slot);
    // No earlier market at this address had this revision or a higher one: see close_market.
    state.revision.set(slot as u32);
    state.set_terms(&args.terms);
    MarketCreated::emit(*market.address(), state.authority, state.market_id);
    Ok(())
}

/// The key of an optional mint, zero when absent.
fn checked_mint(account: &AccountView, program: &Address) -> Result<Address> {
    match given(account, program) {
        None => Ok(NO_KEY),
        Some(account) => {
            mint(account)?;
            Ok(*account.address())
        }
    }
}
