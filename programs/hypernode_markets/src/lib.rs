//! A market of compute: clients post jobs with an escrow, nodes claim and run them and are paid.
//!
//! `instruction.rs` lists what the program can be told, `state/` what it stores, `processor/` holds one file for
//! each instruction, `escrow.rs` everything that moves money. The contract is `idl/hypernode_markets.json`.
//!
//! No call may need more than five words of arguments: a result counts one (it is returned through a pointer), a slice
//! and a `Now` two. Further ones would go over the stack, at offsets that hold only on chains whose stack frames have
//! gaps. So arguments travel in structs, or the function is inlined; `build.sh` refuses a program where one is left.

#![no_std]

mod entrypoint;
mod error;
mod escrow;
mod event;
mod guard;
mod hash;
mod instruction;
mod processor;
mod state;
mod vault;
