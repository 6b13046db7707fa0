//! `iotrace workload`: the observed side of `run`, started by it and held until the probes are attached.

use std::os::fd::{FromRawFd, OwnedFd};

use crate::cli::WorkloadArgs;
use crate::session::error::Failure;
use crate::workload;
use iotrace_core::domain::spec::Spec;

/// Runs the workload and reports on the control pipe.
///
/// # Errors
/// Where the specification cannot be read, or the control pipe is not open.
pub fn main(args: &WorkloadArgs) -> Result<(), Failure> {
    let spec: Spec = serde_json::from_str(&args.spec)
        .map_err(|error| Failure::Usage(format!("--spec is not a workload: {error}")))?;
    // SAFETY: F_GETFD only asks whether the number is an open descriptor.
    if args.control < 3 || unsafe { libc::fcntl(args.control, libc::F_GETFD) } < 0 {
        return Err(Failure::Usage(
            "--control is not an open descriptor; `iotrace run` starts this".to_owned(),
        ));
    }
    // SAFETY: open, handed over by the parent for this very use, and owned by nothing else here.
    let control = unsafe { OwnedFd::from_raw_fd(args.control) };
    workload::run(&spec, control).map_err(Failure::while_doing("reporting to iotrace run"))
}
