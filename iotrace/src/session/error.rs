//! Errors that reach the user, and the exit codes they mean.

use thiserror::Error;

/// Why a command ended without a result.
#[derive(Debug, Error)]
pub enum Failure {
    /// Something was asked for that cannot be done: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// It could not be done here and now: exit code 1.
    #[error("{0}")]
    Failed(String),
    /// The same, and a command was to be started: exit code 125, so that it is not taken for the command's.
    #[error("{0}")]
    NotTraced(String),
    /// The command does not exist: exit code 127.
    #[error("{0}")]
    NotFound(String),
    /// The command is not executable: exit code 126.
    #[error("{0}")]
    NotExecutable(String),
    /// The command was left while it ran, as the user asked three times to end: 128 + SIGINT.
    #[error("{0}")]
    Left(String),
    /// A result was not written, which has been said already: exit code 1.
    #[error("a result was not written")]
    Told,
    /// Interrupted before anything was measured: 128 + SIGINT.
    #[error("interrupted before anything was measured")]
    Interrupted,
    /// The result was printed, but it is incomplete and `--strict` was given: exit code 3.
    #[error("the result is incomplete (see `loss` and the warnings), and --strict was given")]
    Incomplete,
}

impl Failure {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Failure::Usage(_) => 2,
            Failure::Failed(_) | Failure::Told => 1,
            Failure::NotTraced(_) => 125,
            Failure::NotFound(_) => 127,
            Failure::NotExecutable(_) => 126,
            Failure::Left(_) | Failure::Interrupted => 130,
            Failure::Incomplete => 3,
        }
    }

    /// A failure of the machine, with what was being done.
    pub fn while_doing<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> Self + '_ {
        move |error| Failure::Failed(format!("{what}: {error}"))
    }
}

impl From<crate::host::identity::Refused> for Failure {
    fn from(refused: crate::host::identity::Refused) -> Self {
        Failure::Usage(refused.to_string())
    }
}

impl From<crate::host::check::Missing> for Failure {
    fn from(missing: crate::host::check::Missing) -> Self {
        Failure::Failed(missing.to_string())
    }
}

impl From<crate::bpf::loader::LoadError> for Failure {
    fn from(error: crate::bpf::loader::LoadError) -> Self {
        Failure::Failed(error.to_string())
    }
}
