//! Checks of accounts. Nothing is read from an account before its owner, size, discriminator and version are known.

use pinocchio::{error::ProgramError, AccountView, Address};

use crate::error::Error;
use crate::hash::sha256;
use crate::state::layout::{Account, Plain, VERSION};

pub type Result<T = ()> = core::result::Result<T, ProgramError>;

/// The System program's address.
pub const SYSTEM: Address = pinocchio_system::ID;
/// The SPL Token program's address; Token-2022 is not accepted.
pub const TOKEN: Address = pinocchio_token::ID;
/// The mint of wrapped SOL: native SOL is paid without it.
const WRAPPED_SOL: Address = Address::from_str_const("So11111111111111111111111111111111111111112");
/// What every derived address is hashed with.
pub const DERIVED: &[u8] = b"ProgramDerivedAddress";
const MINT_BYTES: usize = 82;
const MINT_INITIALIZED: usize = 45;

#[inline(always)]
pub fn ensure(condition: bool, error: Error) -> Result {
    if condition {
        Ok(())
    } else {
        Err(error.into())
    }
}

#[inline(always)]
pub fn signer(account: &AccountView) -> Result {
    ensure(account.is_signer(), Error::MissingSignature)
}

#[inline(always)]
pub fn writable(account: &AccountView) -> Result {
    ensure(account.is_writable(), Error::NotWritable)
}

#[inline(always)]
pub fn at(account: &AccountView, address: &Address) -> Result {
    ensure(account.address() == address, Error::WrongAddress)
}

/// The account is at the address that seeds, a bump of the caller's, program and `DERIVED` give.
///
/// A signature for another address, or for a bump with which there is none (a point of the curve), would make the
/// runtime end the program without an error of its own.
#[inline(always)]
pub fn derived(account: &AccountView, pieces: &[&[u8]]) -> Result {
    let address = Address::new_from_array(sha256(pieces));
    at(account, &address)?;
    ensure(!address.is_on_curve(), Error::WrongAddress)
}

/// The signer is the one who may do this.
#[inline(always)]
pub fn authority(account: &AccountView, expected: &Address) -> Result {
    signer(account)?;
    ensure(account.address() == expected, Error::WrongAuthority)
}

/// An optional account: absent ones are the program's own id.
#[inline(always)]
pub fn given<'a>(account: &'a AccountView, program: &Address) -> Option<&'a AccountView> {
    (account.address() != program).then_some(account)
}

/// An optional account that this case needs.
#[inline(always)]
pub fn needed<'a>(account: &'a AccountView, program: &Address) -> Result<&'a AccountView> {
    given(account, program).ok_or(Error::MissingAccount.into())
}

#[inline(always)]
pub fn program_is(account: &AccountView, id: &Address) -> Result {
    ensure(account.address() == id, Error::WrongProgram)
}

/// Views bytes of exactly the right length as a plain type.
#[inline(always)]
pub fn view<T: Plain>(data: &[u8]) -> Result<&T> {
    ensure(data.len() == core::mem::size_of::<T>(), Error::WrongDataLength)?;
    // SAFETY: the length is right, T has alignment 1 and no invalid bit patterns (Plain).
    Ok(unsafe { &*data.as_ptr().cast::<T>() })
}

#[inline(always)]
fn check<T: Account>(account: &AccountView, program: &Address) -> Result {
    ensure(account.owned_by(program), Error::WrongOwner)?;
    ensure(account.data_len() == T::LEN, Error::WrongAccount)?;
    // SAFETY: the data is at least nine bytes long (T::LEN), and no reference to it is held here.
    let (tag, version) = unsafe {
        let data = account.data_ptr();
        (data.cast::<[u8; 8]>().read(), data.add(8).read())
    };
    let same = u64::from_le_bytes(tag) == u64::from_le_bytes(T::DISCRIMINATOR);
    ensure(same && version == VERSION, Error::WrongAccount)
}

/// One of this program's accounts, to read.
#[inline(always)]
pub fn load<'a, T: Account>(account: &'a AccountView, program: &Address) -> Result<&'a T> {
    check::<T>(account, program)?;
    // SAFETY: `check` has seen owner, size and discriminator; T is Plain. An instruction loads each kind of
    // account once, and the discriminator keeps one account from being two kinds.
    Ok(unsafe { &*account.data_ptr().cast::<T>() })
}

/// One of this program's accounts, to change.
#[inline(always)]
#[allow(clippy::mut_from_ref)]
pub fn load_mut<'a, T: Account>(account: &'a AccountView, program: &Address) -> Result<&'a mut T> {
    check::<T>(account, program)?;
    writable(account)?;
    // SAFETY: as in `load`; the account is writable, and this is the only reference to its data.
    Ok(unsafe { fresh(account) })
}

/// The data of an account that this program has just created.
///
/// # Safety
/// The account's data is T::LEN bytes long, belongs to this program, and no other reference to it is alive.
#[inline(always)]
#[allow(clippy::mut_from_ref)]
pub unsafe fn fresh<T: Account>(account: &AccountView) -> &mut T {
    let mut view = *account;
    // SAFETY: promised by the caller; T is Plain.
    unsafe { &mut *view.data_mut_ptr().cast::<T>() }
}

/// An initialized mint of SPL Token other than wrapped SOL.
pub fn mint(account: &AccountView) -> Result {
    let plain =
        account.owned_by(&TOKEN) && account.data_len() == MINT_BYTES && account.address() != &WRAPPED_SOL;
    ensure(plain, Error::WrongMint)?;
    // SAFETY: the data is 82 bytes long and no reference to it is held.
    let initialized = unsafe { account.data_ptr().add(MINT_INITIALIZED).read() };
    ensure(initialized == 1, Error::WrongMint)
}

/// Nothing has been created at this address yet (it may hold lamports).
#[inline(always)]
pub fn vacant(account: &AccountView) -> Result {
    let empty = account.owned_by(&SYSTEM) && account.is_data_empty();
    ensure(empty, Error::AccountExists)?;
    writable(account)
}
