//! Rows of calls: from the sums that the kernel keeps (`trace`) and from records (`run`).

pub mod batch;
pub mod booked;
pub mod calls;
pub mod complete;
pub mod diagnosis;
pub mod finding;
pub mod fold;
pub mod idle;
pub mod in_flight;
pub mod ledger;
pub mod living;
pub mod longest;
pub mod names;
pub mod open;
pub mod opening;
pub mod others;
pub mod parts;
pub mod processes;
pub mod recognise;
pub mod replies;
pub mod retired;
pub mod row;
mod sentences;
mod snapshot;
pub mod sums;
pub mod tape;
pub mod time;
