//! The programs, one file for each family of tracepoints.

mod again;
mod copy;
mod exact;
mod floor;
mod io_uring;
mod ready;
mod sched;
mod signal;
mod stand_in;
mod syscall;
mod translate;
