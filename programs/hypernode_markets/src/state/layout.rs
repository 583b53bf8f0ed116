//! Little-endian numbers of alignment 1, and the macros that define accounts and arguments with checked offsets.

use pinocchio::Address;

use crate::{error::Error, guard::Result};

macro_rules! number {
    ($name:ident, $native:ty, $size:literal) => {
        #[doc = concat!("A `", stringify!($native), "` that may stand at any address.")]
        #[repr(transparent)]
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub struct $name([u8; $size]);

        // Not every size of number is set, or is part of an address.
        #[allow(dead_code)]
        impl $name {
            #[inline(always)]
            pub const fn new(value: $native) -> Self {
                Self(value.to_le_bytes())
            }

            #[inline(always)]
            pub const fn get(&self) -> $native {
                <$native>::from_le_bytes(self.0)
            }

            #[inline(always)]
            pub fn set(&mut self, value: $native) {
                self.0 = value.to_le_bytes();
            }

            /// The little-endian bytes, as they stand in the account.
            #[inline(always)]
            pub const fn bytes(&self) -> &[u8] {
                &self.0
            }
        }

        impl From<$native> for $name {
            #[inline(always)]
            fn from(value: $native) -> Self {
                Self::new(value)
            }
        }
    };
}

number!(U16, u16, 2);
number!(U32, u32, 4);
number!(U64, u64, 8);
number!(I32, i32, 4);
number!(I64, i64, 8);

/// A binary CIDv1 (1, raw or dag-pb, sha2-256, 32, digest), or zeros when absent.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Cid([u8; 36]);

impl Cid {
    pub const NONE: Self = Self([0; 36]);
    const RAW: u8 = 0x55;
    const DAG_PB: u8 = 0x70;

    #[inline(always)]
    pub fn is_none(&self) -> bool {
        self.0[0] == 0
    }

    /// A CID must be there.
    #[inline(always)]
    pub fn required(&self) -> Result<Self> {
        let [1, Self::RAW | Self::DAG_PB, 0x12, 0x20, ..] = self.0 else {
            return Err(Error::InvalidCid.into());
        };
        Ok(*self)
    }

    /// A CID or nothing; nothing is 36 zeros.
    #[inline(always)]
    pub fn optional(&self) -> Result<Self> {
        if self.0 == [0; 36] {
            return Ok(*self);
        }
        self.required()
    }
}

/// A truth value in an instruction's arguments.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Bool(u8);

impl Bool {
    #[inline(always)]
    pub fn get(&self) -> Result<bool> {
        match self.0 {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Error::InvalidBool.into()),
        }
    }
}

/// An address that stands for "none".
pub const NO_KEY: Address = Address::new_from_array([0; 32]);

/// A type whose every bit pattern is valid and whose alignment is 1.
///
/// # Safety
/// Only `account!` and `wire!` implement it: they check alignment and size, and their fields are numbers, keys,
/// CIDs and byte arrays.
pub unsafe trait Plain: Copy {}

/// An account of this program.
///
/// # Safety
/// Only `account!` implements it.
pub unsafe trait Account: Plain {
    const LEN: usize;
    const DISCRIMINATOR: [u8; 8];
}

/// Version of every account that this program writes; it stands at byte 8.
pub const VERSION: u8 = 1;

/// First eight bytes of sha256(kind ":" name), as Anchor derives discriminators.
pub const fn discriminator(preimage: &[u8]) -> [u8; 8] {
    let hash = sha2_const_stable::Sha256::new().update(preimage).finalize();
    [hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7]]
}

/// Defines an account; each field's offset is written down and checked when compiling.
macro_rules! account {
    ($(#[$doc:meta])* $name:ident, $len:literal bytes { $($offset:literal $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy)]
        pub struct $name { $(pub $field: $type,)* }

        const _: () = {
            $(assert!(core::mem::offset_of!($name, $field) == $offset);)*
            assert!(core::mem::size_of::<$name>() == $len);
            assert!(core::mem::align_of::<$name>() == 1);
        };

        // SAFETY: size and alignment are asserted above; all fields are plain bytes.
        unsafe impl $crate::state::layout::Plain for $name {}

        // SAFETY: as above.
        unsafe impl $crate::state::layout::Account for $name {
            const LEN: usize = $len;
            const DISCRIMINATOR: [u8; 8] =
                $crate::state::layout::discriminator(concat!("account:", stringify!($name)).as_bytes());
        }
    };
}

/// Defines the arguments of an instruction, in the order in which they stand in its data.
macro_rules! wire {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy)]
        pub struct $name { $(pub $field: $type,)* }

        const _: () = assert!(core::mem::align_of::<$name>() == 1);

        // SAFETY: alignment is asserted above; all fields are plain bytes.
        unsafe impl $crate::state::layout::Plain for $name {}
    };
}

pub(crate) use {account, wire};
