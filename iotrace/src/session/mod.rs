//! An observation as it goes on: what was asked for, the source of what is seen, and the sink of results.
//!
//! The only room with an async runtime, of one thread (`until.rs` for `trace`, `watch.rs` for `run`): what iotrace does
//! meanwhile must not compete with what it observes.

pub mod asked;
pub mod calibrate;
pub mod command;
pub mod error;
pub mod interrupts;
pub mod limits;
pub mod live;
mod looks;
pub mod pace;
pub mod recorded;
pub mod run;
pub mod settings;
pub mod sink;
pub mod source;
pub mod tape;
pub mod trace;
pub mod until;
pub mod watch;
pub mod whom;
