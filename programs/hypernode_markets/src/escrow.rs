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

/// Creates an account that may hold lamports already; the payer adds what rent lacks, and `deposit` lamports.
///
/// The System program accepts the address only with the signature that the seeds give, which proves them.
#[inline(never)]
pub fn create(
    payer: &AccountView,
    account: &AccountView,
    bytes: usize,
    owner: &Address,
    deposit: u64,
    seeds: &[Seed],
) -> Result {
    guard::vacant(account)?;
    let rent = Rent::get()?.try_minimum_balance(bytes)?;
    let lamports = rent.saturating_sub(account.lamports()).checked_add(deposit).ok_or(Error::Overflow)?;
    let funding = (lamports > 0).then_some(Funding { from: payer, lamports });
    CreateAccountAllowPrefund { to: account, space: bytes as u64, owner, funding }
        .invoke_signed(&[Signer::from(seeds)])
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

/// The last accounts of an instruction that takes money in.
pub struct Fund<'a> {
    pub from: &'a AccountView,
    pub escrow: &'a AccountView,
    pub token_program: &'a AccountView,
    pub system_program: &'a AccountView,
}

impl Fund<'_> {
    /// Makes the token account of a job that is paid in a mint.
    #[inline(never)]
    pub fn open(
        &self,
        client: &AccountView,
        job: &AccountView,
        mint: &AccountView,
        bump: u8,
        program: &Address,
    ) -> Result {
        program_is(self.token_program, &TOKEN)?;
        let escrow = needed(self.escrow, program)?;
        let seeds = [
            Seed::from(b"escrow"),
            Seed::from(job.address().as_array()),
            Seed::from(core::slice::from_ref(&bump)),
        ];
        create(client, escrow, TokenAccount::LEN, &TOKEN, 0, &seeds)?;
        InitializeAccount3::new(escrow, mint, job.address()).invoke()
    }

    /// Takes an amount from the client into the escrow.
    #[inline(never)]
    pub fn deposit(
        &self,
        client: &AccountView,
        account: &AccountView,
        job: &Job,
        amount: u64,
        program: &Address,
    ) -> Result {
        if job.is_native() {
            program_is(self.system_program, &SYSTEM)?;
            writable(client)?;
            return SystemTransfer { from: client, to: account, lamports: amount }.invoke();
        }
        program_is(self.token_program, &TOKEN)?;
        let from = needed(self.from, program)?;
        let escrow = needed(self.escrow, program)?;
        at(escrow, &job.escrow)?;
        writable(from)?;
        writable(escrow)?;
        let source = TokenAccount::read(from).ok_or(Error::WrongTokenAccount)?;
        ensure(source.mint == job.payment_mint && from.address() != &job.escrow, Error::WrongTokenAccount)?;
        Transfer::new(from, escrow, client, amount).invoke()
    }
}

/// The last accounts of an instruction that pays out.
pub struct Pay<'a> {
    pub payout_to: &'a AccountView,
    pub client_to: &'a AccountView,
    pub fee_to: &'a AccountView,
    pub escrow: &'a AccountView,
    pub token_program: &'a AccountView,
}

impl Pay<'_> {
    /// Delivers what the job owes; says whether anything was delivered.
    ///
    /// With `all`, every payee that something is owed to must be given; what it can't receive stays owed.
    #[inline(never)]
    pub fn deliver(
        &self,
        account: &AccountView,
        job: &mut Job,
        all: bool,
        program: &Address,
    ) -> Result<bool> {
        let mut delivered = false;
        let owed = job.owed_node.get();
        if self.pay(account, job, self.payout_to, &job.payout, owed, all, program)? {
            job.owed_node.set(0);
            job.paid.set(job.paid.get().saturating_add(owed));
            delivered = true;
        }
        let owed = job.owed_fee.get();
        if self.pay(account, job, self.fee_to, &job.fee_receiver, owed, all, program)? {
            job.owed_fee.set(0);
            job.fee.set(job.fee.get().saturating_add(owed));
            delivered = true;
        }
        let owed = job.owed_client.get();
        if self.pay(account, job, self.client_to, &job.client, owed, all, program)? {
            job.owed_client.set(0);
            job.refunded.set(job.refunded.get().saturating_add(owed));
            delivered = true;
        }
        Ok(delivered)
    }

    /// Empties and closes the escrow and the job's account; everything goes to the client.
    #[inline(never)]
    pub fn close(&self, account: &AccountView, client: &AccountView, job: &Job, program: &Address) -> Result {
        if !job.is_native() {
            let escrow = self.token_escrow(job, program)?;
            let rest = TokenAccount::read(escrow).ok_or(Error::WrongTokenAccount)?;
            if rest.amount > 0 {
                let to = needed(self.client_to, program)?;
                let wallet = TokenAccount::read(to).filter(|t| t.can_receive(&job.payment_mint, &job.client));
                ensure(!rest.frozen && wallet.is_some(), Error::EscrowNotEmptied)?;
                writable(to)?;
                self.transfer(account, job, escrow, to, rest.amount)?;
            }
            let (nonce, bump) = (job.nonce.bytes(), core::slice::from_ref(&job.bump));
            let seeds = job_seeds(job, nonce, bump);
            CloseAccount::new(escrow, client, account).invoke_signed(&[Signer::from(&seeds)])?;
        }
        close_account(account, client)
    }

    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    fn pay(
        &self,
        account: &AccountView,
        job: &Job,
        to: &AccountView,
        wallet: &Address,
        amount: u64,
        all: bool,
        program: &Address,
    ) -> Result<bool> {
        if amount == 0 {
            return Ok(false);
        }
        let to = match given(to, program) {
            Some(to) => to,
            None if all => return Err(Error::MissingAccount.into()),
            None => return Ok(false),
        };
        if job.is_native() {
            pay_native(account, to, wallet, amount, program)
        } else {
            self.pay_token(account, job, to, wallet, amount, program)
        }
    }

    #[inline(never)]
    fn pay_token(
        &self,
        account: &AccountView,
        job: &Job,
        to: &AccountView,
        wallet: &Address,
        amount: u64,
        program: &Address,
    ) -> Result<bool> {
        let escrow = self.token_escrow(job, program)?;
        let held = TokenAccount::read(escrow).ok_or(Error::WrongTokenAccount)?;
        let other = to.address() != escrow.address();
        let live = TokenAccount::read(to).is_some_and(|t| other && t.can_receive(&job.payment_mint, wallet));
        if !live {
            let seeds: [&[u8]; 3] = [wallet.as_array(), TOKEN.as_array(), job.payment_mint.as_array()];
            let (associated, _) = Address::find_program_address(&seeds, &ASSOCIATED_TOKEN);
            ensure(to.address() == &associated, Error::WrongPayee)?;
            return Ok(false);
        }
        if held.frozen || held.amount < amount {
            return Ok(false);
        }
        ensure(to.is_writable(), Error::PayeeReadOnly)?;
        self.transfer(account, job, escrow, to, amount)?;
        Ok(true)
    }

    fn token_escrow(&self, job: &Job, program: &Address) -> Result<&AccountView> {
        program_is(self.token_program, &TOKEN)?;
        let escrow = needed(self.escrow, program)?;
        at(escrow, &job.escrow)?;
        writable(escrow)?;
        Ok(escrow)
    }

    #[inline(never)]
    fn transfer(
        &self,
        account: &AccountView,
        job: &Job,
        escrow: &AccountView,
        to: &AccountView,
        amount: u64,
    ) -> Result {
        let (nonce, bump) = (job.nonce.bytes(), core::slice::from_ref(&job.bump));
        let seeds = job_seeds(job, nonce, bump);
        Transfer::new(escrow, to, account, amount).invoke_signed(&[Signer::from(&seeds)])
    }
}

/// Pays lamports out of the job's account. False when the wallet cannot receive them: it would stay below rent
/// exemption, is this program's or a program, or the runtime keeps it read-only.
#[inline(never)]
fn pay_native(
    account: &AccountView,
    to: &AccountView,
    wallet: &Address,
    amount: u64,
    program: &Address,
) -> Result<bool> {
    ensure(to.address() == wallet, Error::WrongPayee)?;
    if to.owned_by(program) || to.executable() {
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
    let (mut source, mut wallet) = (*account, *to);
    let rest = source.lamports().checked_sub(amount).ok_or(Error::Overflow)?;
    source.set_lamports(rest);
    wallet.set_lamports(after);
    Ok(true)
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
