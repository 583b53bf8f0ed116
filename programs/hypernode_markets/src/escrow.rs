//! Everything that moves a job's money.
//!
//! A job's money lies in its own account (native) or in one token account that it owns (SPL). Amounts come from the
//! job's fields, never from balances. Nothing that a payee does with its account can make a delivery fail: what it
//! cannot receive stays in `owed_*`.

use pinocchio::cpi::{Seed, Signer};
use pinocchio::sysvars::{rent::Rent, Sysvar};
use pinocchio::{AccountView, Address};
use pinocchio_system::instructions::{CreateAccountAllowPrefund, Funding, Transfer as SystemTransfer};
use pinocchio_token::instructions::{CloseAccount, InitializeAccount3, Transfer};

use crate::error::Error;
use crate::guard::{self, at, ensure, given, needed, program_is, writable, Result, SYSTEM, TOKEN};
use crate::state::layout::Account;
use crate::state::Job;

const ASSOCIATED_TOKEN: Address = Address::from_str_const("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL");

/// An account that is to be made. It may hold lamports already; the payer adds what rent lacks, and the deposit.
pub struct NewAccount<'a> {
    pub payer: &'a AccountView,
    pub account: &'a AccountView,
    pub bytes: usize,
    pub owner: &'a Address,
    /// Lamports beyond rent.
    pub deposit: u64,
    pub seeds: &'a [Seed<'a>],
}

impl NewAccount<'_> {
    /// The System program accepts the address only with the signature that the seeds give, which proves them.
    #[inline(never)]
    pub fn create(&self) -> Result {
        guard::vacant(self.account)?;
        writable(self.payer)?;
        let rent = Rent::get()?.try_minimum_balance(self.bytes)?;
        let missing = rent.saturating_sub(self.account.lamports());
        let lamports = missing.checked_add(self.deposit).ok_or(Error::Overflow)?;
        let funding = (lamports > 0).then_some(Funding { from: self.payer, lamports });
        CreateAccountAllowPrefund { to: self.account, space: self.bytes as u64, owner: self.owner, funding }
            .invoke_signed(&[Signer::from(self.seeds)])
    }
}

/// What stands in a token account, as far as it matters here.
pub struct TokenAccount {
    pub mint: Address,
    owner: Address,
    pub amount: u64,
    frozen: bool,
}

impl TokenAccount {
    pub const LEN: usize = 165;
    const OWNER: usize = 32;
    const AMOUNT: usize = 64;
    const STATE: usize = 108;

    /// None when it is no initialized account of SPL Token.
    #[inline(always)]
    pub fn read(account: &AccountView) -> Option<Self> {
        if !account.owned_by(&TOKEN) || account.data_len() != Self::LEN {
            return None;
        }
        let data = account.data_ptr();
        // SAFETY: the data is 165 bytes long, no reference to it is held, and all reads are of plain bytes.
        let (mint, owner, amount, state) = unsafe {
            (
                data.cast::<Address>().read(),
                data.add(Self::OWNER).cast::<Address>().read(),
                data.add(Self::AMOUNT).cast::<[u8; 8]>().read(),
                data.add(Self::STATE).read(),
            )
        };
        let frozen = state != 1;
        (state != 0).then_some(Self { mint, owner, amount: u64::from_le_bytes(amount), frozen })
    }

    #[inline(always)]
    pub fn can_receive(&self, mint: &Address, wallet: &Address) -> bool {
        !self.frozen && &self.mint == mint && &self.owner == wallet
    }
}

/// Accounts of an instruction that takes money in.
pub struct Fund<'a> {
    pub program: &'a Address,
    pub client: &'a AccountView,
    pub job: &'a AccountView,
    pub from: &'a AccountView,
    pub escrow: &'a AccountView,
    pub token_program: &'a AccountView,
    pub system_program: &'a AccountView,
}

impl Fund<'_> {
    /// Makes the token account of a job that is paid in a mint.
    #[inline(never)]
    pub fn open(&self, mint: &AccountView, bump: u8) -> Result {
        program_is(self.token_program, &TOKEN)?;
        let escrow = needed(self.escrow, self.program)?;
        let (job, bump) = (self.job.address().as_array(), core::slice::from_ref(&bump));
        guard::derived(escrow, &[b"escrow", job, bump, self.program.as_array(), guard::DERIVED])?;
        let seeds = [Seed::from(b"escrow"), Seed::from(job), Seed::from(bump)];
        let (payer, bytes) = (self.client, TokenAccount::LEN);
        NewAccount { payer, account: escrow, bytes, owner: &TOKEN, deposit: 0, seeds: &seeds }.create()?;
        InitializeAccount3::new(escrow, mint, self.job.address()).invoke()
    }

    /// Takes an amount from the client into the escrow.
    #[inline(never)]
    pub fn deposit(&self, state: &Job, amount: u64) -> Result {
        if state.is_native() {
            program_is(self.system_program, &SYSTEM)?;
            writable(self.client)?;
            return SystemTransfer { from: self.client, to: self.job, lamports: amount }.invoke();
        }
        program_is(self.token_program, &TOKEN)?;
        let from = needed(self.from, self.program)?;
        let escrow = needed(self.escrow, self.program)?;
        at(escrow, &state.escrow)?;
        writable(from)?;
        writable(escrow)?;
        let source = TokenAccount::read(from).ok_or(Error::WrongTokenAccount)?;
        let usable = source.mint == state.payment_mint && from.address() != &state.escrow;
        ensure(usable, Error::WrongTokenAccount)?;
        Transfer::new(from, escrow, self.client, amount).invoke()
    }
}

/// Accounts of an instruction that pays out.
pub struct Pay<'a> {
    pub program: &'a Address,
    pub job: &'a AccountView,
    pub payout_to: &'a AccountView,
    pub client_to: &'a AccountView,
    pub fee_to: &'a AccountView,
    pub escrow: &'a AccountView,
    pub token_program: &'a AccountView,
}

/// One payment: the account that was given for a wallet, and what the wallet is owed.
struct Payment<'a> {
    to: &'a AccountView,
    wallet: &'a Address,
    amount: u64,
}

impl Pay<'_> {
    /// Delivers what the job owes; says whether anything was delivered.
    ///
    /// With `all`, every payee that something is owed to must be given; what it can't receive stays owed.
    #[inline(never)]
    pub fn deliver(&self, state: &mut Job, all: bool) -> Result<bool> {
        let mut delivered = false;
        let owed = state.owed_node.get();
        if self.pay(state, Payment { to: self.payout_to, wallet: &state.payout, amount: owed }, all)? {
            state.owed_node.set(0);
            state.paid.set(state.paid.get().saturating_add(owed));
            delivered = true;
        }
        let owed = state.owed_fee.get();
        if self.pay(state, Payment { to: self.fee_to, wallet: &state.fee_receiver, amount: owed }, all)? {
            state.owed_fee.set(0);
            state.fee.set(state.fee.get().saturating_add(owed));
            delivered = true;
        }
        let owed = state.owed_client.get();
        if self.pay(state, Payment { to: self.client_to, wallet: &state.client, amount: owed }, all)? {
            state.owed_client.set(0);
            state.refunded.set(state.refunded.get().saturating_add(owed));
            delivered = true;
        }
        Ok(delivered)
    }

    /// Empties and closes the escrow and the job's account; everything goes to the client.
    #[inline(never)]
    pub fn close(&self, client: &AccountView, state: &Job) -> Result {
        if !state.is_native() {
            let escrow = self.token_escrow(state)?;
            let rest = TokenAccount::read(escrow).ok_or(Error::WrongTokenAccount)?;
            if rest.amount > 0 {
                let to = needed(self.client_to, self.program)?;
                let wallet =
                    TokenAccount::read(to).filter(|t| t.can_receive(&state.payment_mint, &state.client));
                ensure(!rest.frozen && wallet.is_some(), Error::EscrowNotEmptied)?;
                writable(to)?;
                self.transfer(state, to, rest.amount)?;
            }
            let (nonce, bump) = (state.nonce.bytes(), core::slice::from_ref(&state.bump));
            let seeds = job_seeds(state, nonce, bump);
            CloseAccount::new(escrow, client, self.job).invoke_signed(&[Signer::from(&seeds)])?;
        }
        close_account(self.job, client)
    }

    #[inline(always)]
    fn pay(&self, state: &Job, payment: Payment, all: bool) -> Result<bool> {
        if payment.amount == 0 {
            return Ok(false);
        }
        if given(payment.to, self.program).is_none() {
            return if all { Err(Error::MissingAccount.into()) } else { Ok(false) };
        }
        if state.is_native() {
            self.pay_native(&payment)
        } else {
            self.pay_token(state, &payment)
        }
    }

    /// Pays tokens out of the escrow. False when the wallet's account, or the escrow, is of no use; then the account
    /// must be the wallet's associated one.
    #[inline(never)]
    fn pay_token(&self, state: &Job, payment: &Payment) -> Result<bool> {
        let &Payment { to, wallet, amount } = payment;
        let escrow = self.token_escrow(state)?;
        let held = TokenAccount::read(escrow).ok_or(Error::WrongTokenAccount)?;
        let other = to.address() != escrow.address();
        let live =
            TokenAccount::read(to).is_some_and(|t| other && t.can_receive(&state.payment_mint, wallet));
        if !live {
            let seeds: [&[u8]; 3] = [wallet.as_array(), TOKEN.as_array(), state.payment_mint.as_array()];
            let (associated, _) = Address::find_program_address(&seeds, &ASSOCIATED_TOKEN);
            ensure(to.address() == &associated, Error::WrongPayee)?;
            return Ok(false);
        }
        if held.frozen || held.amount < amount {
            return Ok(false);
        }
        ensure(to.is_writable(), Error::PayeeReadOnly)?;
        self.transfer(state, to, amount)?;
        Ok(true)
    }

    /// Pays lamports out of the job's account. False when the wallet cannot receive them: it would stay below rent
    /// exemption, is this program's or a program, or the runtime keeps it read-only.
    #[inline(never)]
    fn pay_native(&self, payment: &Payment) -> Result<bool> {
        let &Payment { to, wallet, amount } = payment;
        ensure(to.address() == wallet, Error::WrongPayee)?;
        if to.owned_by(self.program) || to.executable() {
            return Ok(false);
        }
        if !to.is_writable() {
            // A caller who leaves a wallet read-only must not be able to withhold its money.
            let funded = to.owned_by(&SYSTEM) && to.lamports() > 0;
            ensure(!funded, Error::PayeeReadOnly)?;
            return Ok(false);
        }
        let after = to.lamports().checked_add(amount).ok_or(Error::Overflow)?;
        if after < Rent::get()?.try_minimum_balance(to.data_len())? {
            return Ok(false);
        }
        let (mut source, mut wallet) = (*self.job, *to);
        let rest = source.lamports().checked_sub(amount).ok_or(Error::Overflow)?;
        source.set_lamports(rest);
        wallet.set_lamports(after);
        Ok(true)
    }

    /// The escrow of a job that is paid in tokens.
    #[inline(always)]
    fn token_escrow(&self, state: &Job) -> Result<&AccountView> {
        program_is(self.token_program, &TOKEN)?;
        let escrow = needed(self.escrow, self.program)?;
        at(escrow, &state.escrow)?;
        writable(escrow)?;
        Ok(escrow)
    }

    /// Moves tokens out of the escrow, which `token_escrow` has seen.
    #[inline(never)]
    fn transfer(&self, state: &Job, to: &AccountView, amount: u64) -> Result {
        let (nonce, bump) = (state.nonce.bytes(), core::slice::from_ref(&state.bump));
        let seeds = job_seeds(state, nonce, bump);
        Transfer::new(self.escrow, to, self.job, amount).invoke_signed(&[Signer::from(&seeds)])
    }
}

#[inline(always)]
fn job_seeds<'a>(job: &'a Job, nonce: &'a [u8], bump: &'a [u8]) -> [Seed<'a>; 5] {
    [
        Seed::from(b"job"),
        Seed::from(job.market.as_array()),
        Seed::from(job.client.as_array()),
        Seed::from(nonce),
        Seed::from(bump),
    ]
}

/// Ends an account of this program: its lamports go to `to`, its data and owner are gone.
pub fn close_account(account: &AccountView, to: &AccountView) -> Result {
    writable(to)?;
    ensure(account.address() != to.address(), Error::WrongAddress)?;
    let (mut gone, mut receiver) = (*account, *to);
    let sum = receiver.lamports().checked_add(gone.lamports()).ok_or(Error::Overflow)?;
    receiver.set_lamports(sum);
    gone.close()
}

/// Size of a job's account.
pub const JOB_BYTES: usize = <Job as Account>::LEN;
