//! From records to a result, with records made by hand: no kernel, no clock, every figure known.
//!
//! Calls are fed through the very state machine that the probes use, so a tape reads like what happened.

mod asynchronous;
mod calls;
mod drawn;
mod foreign;
mod pieces;
mod uring;
