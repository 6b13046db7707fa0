//! Log-linear histogram buckets, the same arithmetic in the kernel and in user space.
//!
//! Values below [`SUB`] have a bucket each; above, every power of two is cut into [`SUB`] equal
//! buckets, so a bucket is never wider than 1/[`SUB`] of its lower edge.

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
}
