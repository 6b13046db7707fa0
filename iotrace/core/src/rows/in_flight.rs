//! Calls that were open at either end of tracing.

use crate::rows::batch::Since;
use crate::rows::open::Open;

/// Calls that were open when tracing ended or began.
#[derive(Clone, Debug, Default)]
pub struct InFlightCalls {
    /// Open calls of known threads.
    pub open: Vec<Open>,
    /// Whether the rows have the time of these calls so far.
    pub booked: bool,
    /// Calls that have been open since before tracing began: process, thread, syscall number.
    pub before: Vec<Since>,
    /// When tracing ended, ns.
    pub now: u64,
    /// When tracing began, ns.
    pub started: u64,
}
