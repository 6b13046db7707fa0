//! Log-linear histogram buckets, the same arithmetic in the kernel and in user space.
//!
//! Values below [`SUB`] have a bucket each; above, every power of two is cut into [`SUB`] equal
//! buckets, so a bucket is never wider than 1/[`SUB`] of its lower edge.

use crate::abi::{AGG_BUCKETS, Buckets};
use crate::book::Distribution;

/// log2 of the number of buckets per power of two.
pub const SUB_BITS: u32 = 4;
/// Buckets per power of two.
pub const SUB: u64 = 1 << SUB_BITS;
/// Values from this power of two on share the last bucket (2^40 ns are 18 minutes).
pub const MAX_BITS: u32 = 40;
/// Number of buckets.
pub const BUCKETS: usize = ((MAX_BITS - SUB_BITS + 1) as usize) * SUB as usize;
/// Half a bucket's width relative to its lower edge: the error of a value read from a bucket's middle.
pub const RELATIVE_ERROR: f64 = 1.0 / (2.0 * SUB as f64);

/// The bucket of `value`; always below [`BUCKETS`].
#[inline(always)]
pub fn bucket_of(value: u64) -> usize {
    if value < SUB {
        return value as usize;
    }
    let top = 63 - value.leading_zeros();
    if top >= MAX_BITS {
        return BUCKETS - 1;
    }
    let shift = top - SUB_BITS;
    let within = (value >> shift) & (SUB - 1);
    ((u64::from(shift) + 1) * SUB + within) as usize
}

/// The smallest value of bucket `index`.
pub fn lower(index: usize) -> u64 {
    let index = index as u64;
    if index < SUB {
        return index;
    }
    let shift = index / SUB - 1;
    (SUB + index % SUB) << shift
}

/// The largest value of bucket `index` (the last bucket is open above).
pub fn upper(index: usize) -> u64 {
    if index + 1 >= BUCKETS { u64::MAX } else { lower(index + 1) - 1 }
}

/// log2 of the number of buckets per power of two of a histogram kept in the kernel, where every bucket
/// costs memory for every row and CPU.
pub const COARSE_SUB_BITS: u32 = 3;
/// Values below this power of two share the first bucket ...
const COARSE_MIN_BITS: u32 = 5;
/// ... and from this one on, the last (2^36 ns are 69 s).
const COARSE_MAX_BITS: u32 = 36;
/// Number of buckets of a coarse histogram.
pub const COARSE_BUCKETS: usize = (((COARSE_MAX_BITS - COARSE_MIN_BITS) << COARSE_SUB_BITS) + 2) as usize;
/// Half a coarse bucket's width relative to its lower edge.
pub const COARSE_ERROR: f64 = 1.0 / (2u64 << COARSE_SUB_BITS) as f64;

/// The coarse bucket of `value`; always below [`COARSE_BUCKETS`].
#[inline(always)]
pub fn coarse(value: u64) -> usize {
    if value >> COARSE_MIN_BITS == 0 {
        return 0;
    }
    let top = log2(value);
    if top >= COARSE_MAX_BITS {
        return COARSE_BUCKETS - 1;
    }
    let within = (value >> (top - COARSE_SUB_BITS)) & ((1 << COARSE_SUB_BITS) - 1);
    (((top - COARSE_MIN_BITS) << COARSE_SUB_BITS) as u64 + within + 1) as usize
}

/// `floor(log2(value))` of a value that is not 0, without the instruction that BPF lacks and without a branch: by
/// branches, the verifier follows each of 64 ways to the end of the program.
///
/// All bits below the highest are set, which leaves 64 values; a product with a de Bruijn sequence tells them apart by its
/// upper six bits.
#[inline(always)]
fn log2(value: u64) -> u32 {
    u32::from(LOGS[(filled(value).wrapping_mul(DE_BRUIJN) >> 58) as usize])
}

/// A sequence of 64 bits in which each number of six bits occurs once.
const DE_BRUIJN: u64 = 0x03f6_eaf2_cd27_1461;

/// The logarithm that belongs to the upper six bits of a product.
static LOGS: [u8; 64] = {
    let (mut logs, mut log) = ([0; 64], 0);
    while log < 64 {
        logs[(filled(1 << log).wrapping_mul(DE_BRUIJN) >> 58) as usize] = log;
        log += 1;
    }
    logs
};

/// A value with all bits below its highest set.
#[inline(always)]
const fn filled(mut value: u64) -> u64 {
    value |= value >> 1;
    value |= value >> 2;
    value |= value >> 4;
    value |= value >> 8;
    value |= value >> 16;
    value | value >> 32
}

impl Distribution for Buckets {
    /// The mask bounds the index for verifiers that cannot follow [`coarse`]; the compiler, which can, must not see
    /// that it changes nothing.
    #[inline(always)]
    fn count(&mut self, value: u64) {
        let index = core::hint::black_box(coarse(value)) & (AGG_BUCKETS - 1);
        // SAFETY: the mask keeps the index inside the array, whose length is a power of two.
        unsafe {
            let bucket = self.as_mut_ptr().add(index);
            *bucket = (*bucket).wrapping_add(1);
        }
    }
}

/// The smallest value of coarse bucket `index`.
pub fn coarse_lower(index: usize) -> u64 {
    let Some(index) = index.checked_sub(1) else { return 0 };
    let (octave, within) = (index as u64 >> COARSE_SUB_BITS, index as u64 & ((1 << COARSE_SUB_BITS) - 1));
    let top = octave + u64::from(COARSE_MIN_BITS);
    (1 << top) + (within << (top - u64::from(COARSE_SUB_BITS)))
}

/// The largest value of coarse bucket `index` (the last is open above).
pub fn coarse_upper(index: usize) -> u64 {
    if index + 1 >= COARSE_BUCKETS { u64::MAX } else { coarse_lower(index + 1) - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_tile_the_line() {
        for index in 1..BUCKETS {
            assert_eq!(upper(index - 1) + 1, lower(index));
            assert_eq!(bucket_of(lower(index)), index);
            assert_eq!(bucket_of(lower(index) - 1), index - 1);
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_bucket_is_no_wider_than_promised() {
        for index in SUB as usize..BUCKETS - 1 {
            let width = upper(index) - lower(index) + 1;
            assert!(width as f64 <= lower(index) as f64 * 2.0 * RELATIVE_ERROR);
        }
    }

    #[test]
    fn the_logarithm_is_that_of_the_highest_bit() {
        for log in 0..64 {
            assert_eq!((log2(1 << log), log2(u64::MAX >> (63 - log))), (log, log));
        }
    }

    #[test]
    fn coarse_buckets_tile_the_line_within_their_error() {
        for index in 1..COARSE_BUCKETS {
            assert_eq!(coarse_upper(index - 1) + 1, coarse_lower(index));
            assert_eq!(coarse(coarse_lower(index)), index);
            assert_eq!(coarse(coarse_lower(index) - 1), index - 1);
        }
        for index in 1..COARSE_BUCKETS - 1 {
            let width = coarse_upper(index) - coarse_lower(index) + 1;
            assert!(width as f64 <= coarse_lower(index) as f64 * 2.0 * COARSE_ERROR);
        }
        assert_eq!((coarse(0), coarse(u64::MAX)), (0, COARSE_BUCKETS - 1));
    }
}
