//! A market of compute: clients post jobs with an escrow, nodes claim and run them and are paid.
//!
//! `instruction.rs` lists what the program can be told, `state/` what it stores, `processor/` holds one file for
//! each instruction, `escrow.rs` everything that moves money. The contract is `idl/hypernode_markets.json`.

#![no_std]

mod entrypoint;
mod error;
mod escrow;
mod event;
mod guard;
mod instruction;
mod processor;
mod state;
mod vault;
