//! What the program can be told: each instruction's arguments, and the way to its processor.
//!
//! An instruction's data is the first eight bytes of sha256("global:<name>") and exactly its arguments.

use pinocchio::{AccountView, Address};

use crate::error::Error;
use crate::guard::{view, Result};
use crate::processor;
use crate::state::job::Requirements;
use crate::state::layout::{discriminator, wire, Bool, Cid, I32, U16, U32, U64};
use crate::state::{MarketTerms, NodeSpecs};

wire! { CreateMarket { market_id: U64, terms: MarketTerms, } }
wire! { UpdateMarket { terms: MarketTerms, paused: Bool, } }
wire! { CloseMarket {} }
wire! { RegisterNode { specs: NodeSpecs, capacity: U16, payout: Address, } }
wire! { HeartbeatNode { state: u8, } }
wire! { DeregisterNode {} }
wire! {
    CreateJob {
        nonce: U64,
        bump: u8,
        escrow_bump: u8,
        revision: U32,
        definition_cid: Cid,
        price: U64,
        timeout: U32,
        requirements: Requirements,
    }
}
wire! { CancelJob {} }
wire! { ExtendJob { seconds: U32, } }
wire! { StopJob {} }
wire! { WorkJob { begin: Bool, queued_slot: U64, } }
wire! { BeginJob {} }
wire! { CheckpointJob { progress_bps: U16, checkpoint_cid: Cid, } }
wire! { ReleaseJob { reason: u8, } }
wire! { FinishJob { result_cid: Cid, result_hash: [u8; 32], exit_status: I32, } }
wire! { SettleJob {} }
wire! { TimeoutJob {} }
wire! { CloseJob {} }

wire! { Stake { amount: U64, } }
wire! { RequestUnstake { amount: U64, } }
wire! { WithdrawStake {} }
wire! { ShareSecrets { secrets_cid: Cid, } }
wire! { DisputeResult { reason_cid: Cid, } }
wire! { ResolveDispute { pay_bps: U16, slash_bps: U16, } }

macro_rules! instructions {
    ($($name:ident($args:ident),)*) => {
        #[allow(non_upper_case_globals)]
        mod tag {
            $(pub const $name: u64 = u64::from_le_bytes(
                super::discriminator(concat!("global:", stringify!($name)).as_bytes()),
            );)*
        }

        /// Finds the instruction by its discriminator and hands it its accounts and arguments.
        #[inline(always)]
        pub fn dispatch(program: &Address, accounts: &[AccountView], data: &[u8]) -> Result {
            let Some((head, args)) = data.split_first_chunk::<8>() else {
                return Err(Error::UnknownInstruction.into());
            };
            match u64::from_le_bytes(*head) {
                $(tag::$name => processor::$name::process(program, accounts, view::<$args>(args)?),)*
                _ => Err(Error::UnknownInstruction.into()),
            }
        }
    };
}

instructions! {
    create_market(CreateMarket),
    update_market(UpdateMarket),
    close_market(CloseMarket),
    register_node(RegisterNode),
    heartbeat_node(HeartbeatNode),
    deregister_node(DeregisterNode),
    stake(Stake),
    request_unstake(RequestUnstake),
    withdraw_stake(WithdrawStake),
    create_job(CreateJob),
    cancel_job(CancelJob),
    extend_job(ExtendJob),
    stop_job(StopJob),
    work_job(WorkJob),
    begin_job(BeginJob),
    checkpoint_job(CheckpointJob),
    share_secrets(ShareSecrets),
    release_job(ReleaseJob),
    finish_job(FinishJob),
    dispute_result(DisputeResult),
    resolve_dispute(ResolveDispute),
    settle_job(SettleJob),
    timeout_job(TimeoutJob),
    close_job(CloseJob),
}
