//! One file a family of tracepoints.

mod again;
mod copy;
mod floor;
mod io_uring;
mod ready;
mod sched;
mod signal;
mod syscall;
