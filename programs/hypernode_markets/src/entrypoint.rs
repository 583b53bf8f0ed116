//! Where the runtime enters. No allocator: whatever would allocate fails to build or panics.

use pinocchio::{
    error::ProgramError, no_allocator, nostd_panic_handler, program_entrypoint, AccountView, Address,
    ProgramResult,
};

use crate::{error, instruction};

/// No instruction lists more accounts; further ones are ignored.
const MAX_ACCOUNTS: usize = 12;

program_entrypoint!(process, MAX_ACCOUNTS);
no_allocator!();
nostd_panic_handler!();

#[inline(always)]
fn process(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let result = instruction::dispatch(program, accounts, data);
    if let Err(ProgramError::Custom(code)) = result {
        error::log(code);
    }
    result
}
