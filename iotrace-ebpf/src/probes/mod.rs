//! One file a family of tracepoints.

mod copy;
mod floor;
mod io_uring;
mod ready;
mod sched;
mod signal;
mod syscall;
