//! What crosses between the kernel and user space.
//!
//! `#[repr(C)]`, fixed widths, no implicit padding; sizes are asserted below. Every record begins with
//! a [`Head`] whose `kind` tells which one it is. Times are CLOCK_MONOTONIC in ns; 0 means "did not
//! happen". Kernel addresses serve as names of sockets, rings and requests and are never shown.

mod control;
pub mod errno;
pub mod kernel;
mod life;
mod records;
mod sums;
pub mod traits;
mod uring;

pub use self::control::*;
pub use self::life::*;
pub use self::records::*;
pub use self::sums::*;
pub use self::uring::*;

const _: () = {
    assert!(size_of::<Head>() == 24);
    assert!(size_of::<CallRecord>() == 288);
    assert!(size_of::<CopyRecord>() == 72);
    assert!(size_of::<ReadyRecord>() == 32);
    assert!(size_of::<SignalRecord>() == 56);
    assert!(size_of::<UringRecord>() == 72);
    assert!(size_of::<TaskRecord>() == 40);
    assert!(size_of::<RecvRecord>() == 48);
    assert!(size_of::<PollRecord>() == 40);
    assert!(size_of::<FileRecord>() == 128);
    assert!(size_of::<AggKey>() == 24);
    assert!(size_of::<WakeKey>() == 16);
    assert!(size_of::<WayKey>() == 8);
    assert!(size_of::<LifeKey>() == 16);
    assert!(size_of::<LifeSum>() == 16);
    assert!(size_of::<TakenKey>() == 8);
    assert!(size_of::<PeerKey>() == 32);
    // A per-CPU value may not be larger than 32 KiB.
    assert!(size_of::<Agg>() < 8192 && size_of::<Agg>().is_multiple_of(8));
};
