//! sha256 of several pieces, as one.

#[cfg(any(target_os = "solana", target_arch = "bpf"))]
#[inline(always)]
pub fn sha256(pieces: &[&[u8]]) -> [u8; 32] {
    let mut hash = [0u8; 32];
    // SAFETY: the pieces live during the call, and the hash has room for 32 bytes.
    unsafe {
        pinocchio::syscalls::sol_sha256(pieces.as_ptr().cast::<u8>(), pieces.len() as u64, hash.as_mut_ptr());
    }
    hash
}

#[cfg(not(any(target_os = "solana", target_arch = "bpf")))]
pub fn sha256(pieces: &[&[u8]]) -> [u8; 32] {
    pieces.iter().fold(sha2_const_stable::Sha256::new(), |sum, piece| sum.update(piece)).finalize()
}
