//! Everything that the program can answer but success. Codes and sentences are those of the IDL.

use pinocchio::error::ProgramError;

macro_rules! errors {
    ($($code:literal $name:ident,)*) => {
        #[derive(Clone, Copy, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Error { $($name = $code,)* }

        /// Logs the name of an error, for people who read the log of a failed transaction.
        #[cold]
        pub fn log(code: u32) {
            let text: &str = match code {
                $($code => concat!("Error: ", stringify!($name)),)*
                _ => return,
            };
            #[cfg(any(target_os = "solana", target_arch = "bpf"))]
            // SAFETY: pointer and length are those of one static string.
            unsafe {
                pinocchio::syscalls::sol_log_(text.as_ptr(), text.len() as u64)
            }
            #[cfg(not(any(target_os = "solana", target_arch = "bpf")))]
            let _ = text;
        }
    };
}

errors! {
    // accounts and data
    6000 UnknownInstruction,
    6001 WrongDataLength,
    6002 NotEnoughAccounts,
    6003 MissingSignature,
    6004 NotWritable,
    6005 WrongOwner,
    6006 WrongAccount,
    6007 WrongAddress,
    6008 WrongAuthority,
    6009 AccountExists,
    6010 WrongProgram,
    6011 WrongMint,
    6012 WrongTokenAccount,
    6013 WrongMarket,
    6014 WrongNode,
    6015 MissingAccount,
    6016 Overflow,
    // arguments and terms
    6020 InvalidShare,
    6021 InvalidPeriod,
    6022 InvalidReview,
    6023 StakeWithoutMint,
    6024 WindowTooLong,
    6025 InvalidFlags,
    6026 InvalidCredit,
    6027 InvalidCapacity,
    6028 InvalidFeeReceiver,
    6029 InvalidCid,
    6030 InvalidSpecs,
    6031 InvalidPayout,
    6032 InvalidRequirements,
    6033 InvalidReason,
    6034 InvalidProgress,
    6035 InvalidNodeState,
    6036 InvalidAmount,
    6037 InvalidBool,
    // markets
    6040 MarketPaused,
    6041 RevisionChanged,
    6042 PriceTooLow,
    6043 TimeoutOutOfRange,
    6044 MarketTooNew,
    // nodes
    6060 NodeNotActive,
    6061 NodeFull,
    6062 NodeUnable,
    6063 NodeUntrusted,
    6064 StakeTooLow,
    6065 NodeHasJobs,
    6066 NodeHasStake,
    6067 PayoutNotSigned,
    // jobs
    6080 WrongJobState,
    6081 DeadlinePassed,
    6082 DeadlineNotPassed,
    6083 AttemptsSpent,
    6084 JobReplaced,
    6085 WindowNotOpen,
    6086 JobStopped,
    6087 NothingOwed,
    6088 StillOwed,
    6089 NothingDelivered,
    // money
    6100 WrongPayee,
    6101 PayeeReadOnly,
    6102 EscrowNotEmptied,
    // stake
    6120 StakeNotSupported,
    6121 NotEnoughStake,
    6122 NothingUnstaking,
    6123 CooldownNotOver,
}

impl From<Error> for ProgramError {
    #[inline(always)]
    fn from(error: Error) -> Self {
        Self::Custom(error as u32)
    }
}
