//! The programs, one file for each family of tracepoints.

mod adopt;
mod again;
mod close;
mod copy;
mod decode;
mod exact;
mod fault;
mod floor;
mod io_uring;
mod ready;
mod restart;
mod sched;
mod signal;
mod stand_in;
mod syscall;
mod translate;
