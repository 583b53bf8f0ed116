//! Events: hints for those who follow the program's logs. The truth stands in the accounts.

use pinocchio::Address;

use crate::state::layout::{discriminator, I32, I64, U16, U32, U64};

macro_rules! events {
    ($($name:ident { $($field:ident: $type:ty,)* })*) => {$(
        #[repr(C)]
        pub struct $name {
            tag: [u8; 8],
            $($field: $type,)*
        }

        const _: () = assert!(core::mem::align_of::<$name>() == 1);

        impl $name {
            const DISCRIMINATOR: [u8; 8] =
                discriminator(concat!("event:", stringify!($name)).as_bytes());

            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            pub fn emit($($field: impl Into<$type>),*) {
                log(&Self { tag: Self::DISCRIMINATOR, $($field: $field.into(),)* });
            }
        }
    )*};
}

events! {
    MarketCreated {
        market: Address,
        authority: Address,
        market_id: U64,
    }
    MarketUpdated {
        market: Address,
        revision: U32,
        paused: u8,
    }
    MarketClosed {
        market: Address,
    }
    NodeRegistered {
        node: Address,
        market: Address,
        authority: Address,
    }
    NodeDeregistered {
        node: Address,
        market: Address,
        burnt: U64,
    }
    NodeStaked {
        node: Address,
        amount: U64,
        staked: U64,
    }
    NodeUnstaking {
        node: Address,
        amount: U64,
        unstake_at: I64,
    }
    NodeUnstaked {
        node: Address,
        amount: U64,
        staked: U64,
    }
    JobCreated {
        job: Address,
        market: Address,
        client: Address,
        deposit: U64,
    }
    JobExtended {
        job: Address,
        timeout: U32,
        deposit: U64,
    }
    JobStopped {
        job: Address,
        stopped_at: I64,
    }
    JobClaimed {
        job: Address,
        node: Address,
        attempts: u8,
        state: u8,
    }
    JobStarted {
        job: Address,
        node: Address,
    }
    JobCheckpointed {
        job: Address,
        checkpoint_seq: U32,
        progress_bps: U16,
    }
    JobSecretsShared {
        job: Address,
    }
    JobRequeued {
        job: Address,
        node: Address,
        reason: u8,
        slashed: U64,
    }
    JobSubmitted {
        job: Address,
        node: Address,
        exit_status: I32,
    }
    JobDisputed {
        job: Address,
        bond: U64,
    }
    JobEnded {
        job: Address,
        node: Address,
        state: u8,
        reason: u8,
        slashed: U64,
        paid: U64,
        fee: U64,
        refunded: U64,
        owed_node: U64,
        owed_fee: U64,
        owed_client: U64,
    }
    JobDelivered {
        job: Address,
        owed_node: U64,
        owed_fee: U64,
        owed_client: U64,
    }
    JobClosed {
        job: Address,
    }
}

/// Logs one event as one piece of data.
#[inline(always)]
fn log<T>(event: &T) {
    #[cfg(any(target_os = "solana", target_arch = "bpf"))]
    {
        // SAFETY: an event has alignment 1, so no padding: all its bytes are initialized.
        let bytes = unsafe {
            core::slice::from_raw_parts((event as *const T).cast::<u8>(), core::mem::size_of::<T>())
        };
        let pieces = [bytes];
        // SAFETY: one slice, alive during the call.
        unsafe { pinocchio::syscalls::sol_log_data(pieces.as_ptr().cast::<u8>(), 1) }
    }
    #[cfg(not(any(target_os = "solana", target_arch = "bpf")))]
    let _ = event;
}
