//! A node's stake: one token account at ["stake", node] that the node's own account owns.
//!
//! Most of these functions have one caller and more arguments than a call can have: they are inlined.

use pinocchio::cpi::{Seed, Signer};
use pinocchio::{AccountView, Address};
use pinocchio_token::instructions::{Burn, CloseAccount, InitializeAccount3, Transfer};

use crate::error::Error;
use crate::escrow::{NewAccount, TokenAccount};
use crate::guard::{at, ensure, program_is, writable, Result, SYSTEM, TOKEN};
use crate::state::Node;

const SEED: &[u8] = b"stake";

/// Makes the vault of a node that has none yet; gives its bump.
#[inline(always)]
pub fn open(
    funder: &AccountView,
    node: &AccountView,
    vault: &AccountView,
    mint: &AccountView,
    system_program: &AccountView,
    program: &Address,
) -> Result<u8> {
    program_is(system_program, &SYSTEM)?;
    let seeds: [&[u8]; 2] = [SEED, node.address().as_array()];
    let (address, bump) = Address::find_program_address(&seeds, program);
    at(vault, &address)?;
    let seeds =
        [Seed::from(SEED), Seed::from(node.address().as_array()), Seed::from(core::slice::from_ref(&bump))];
    let bytes = TokenAccount::LEN;
    NewAccount { payer: funder, account: vault, bytes, owner: &TOKEN, deposit: 0, seeds: &seeds }.create()?;
    InitializeAccount3::new(vault, mint, node.address()).invoke()?;
    Ok(bump)
}

/// The account is the node's vault.
#[inline(never)]
pub fn verify(vault: &AccountView, node: &AccountView, state: &Node, program: &Address) -> Result {
    ensure(state.stake_bump != 0, Error::NotEnoughStake)?;
    let bump = core::slice::from_ref(&state.stake_bump);
    let seeds: [&[u8]; 3] = [SEED, node.address().as_array(), bump];
    let address = Address::create_program_address(&seeds, program).map_err(|_| Error::WrongAddress)?;
    at(vault, &address)?;
    writable(vault)
}

/// Takes stake in.
#[inline(always)]
pub fn pay_in(
    funder: &AccountView,
    from: &AccountView,
    vault: &AccountView,
    mint: &AccountView,
    amount: u64,
) -> Result {
    let source = TokenAccount::read(from).ok_or(Error::WrongTokenAccount)?;
    let usable = &source.mint == mint.address() && from.address() != vault.address();
    ensure(usable, Error::WrongTokenAccount)?;
    Transfer::new(from, vault, funder, amount).invoke()
}

/// Pays stake out to a token account of the payout wallet.
#[inline(always)]
pub fn pay_out(
    node: &AccountView,
    state: &Node,
    vault: &AccountView,
    to: &AccountView,
    amount: u64,
) -> Result {
    let held = TokenAccount::read(vault).ok_or(Error::WrongTokenAccount)?;
    let live = TokenAccount::read(to).filter(|t| t.can_receive(&held.mint, &state.payout));
    ensure(live.is_some(), Error::WrongPayee)?;
    writable(to)?;
    let seeds = node_seeds(state);
    Transfer::new(vault, to, node, amount).invoke_signed(&[Signer::from(&seeds)])
}

/// Burns what is in the vault and closes it; its rent goes to the payout wallet.
#[inline(always)]
pub fn burn_and_close(
    node: &AccountView,
    state: &Node,
    vault: &AccountView,
    mint: &AccountView,
    payout: &AccountView,
) -> Result<u64> {
    let held = TokenAccount::read(vault).ok_or(Error::WrongTokenAccount)?;
    ensure(mint.address() == &held.mint, Error::WrongMint)?;
    let seeds = node_seeds(state);
    if held.amount > 0 {
        writable(mint)?;
        Burn::new(vault, mint, node, held.amount).invoke_signed(&[Signer::from(&seeds)])?;
    }
    CloseAccount::new(vault, payout, node).invoke_signed(&[Signer::from(&seeds)])?;
    Ok(held.amount)
}

#[inline(always)]
fn node_seeds(state: &Node) -> [Seed<'_>; 4] {
    [
        Seed::from(b"node"),
        Seed::from(state.market.as_array()),
        Seed::from(state.authority.as_array()),
        Seed::from(core::slice::from_ref(&state.bump)),
    ]
}
