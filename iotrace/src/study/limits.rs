//! The limit on open descriptors, and how a study raises it.

use crate::session::error::Failure;

/// Descriptors that do not belong to the study: standard streams, probes, maps, and inherited ones.
const SPARE: u64 = 128;

/// The limit on open descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The limit in force, in descriptors.
    pub soft: u64,
    /// The limit up to which this process may raise `soft`.
    pub hard: u64,
}

/// RLIMIT_NOFILE of this process, getrlimit(2).
pub fn descriptors() -> Limit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a valid place for the answer.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    Limit { soft: limit.rlim_cur, hard: limit.rlim_max }
}

/// Raises the soft limit so that the study can open `wanted` descriptors; `what` names the study in the message.
///
/// # Errors
/// The hard limit is too low; the message says how many descriptors it allows and how to raise it.
pub fn make_room(wanted: u64, what: &str) -> Result<(), Failure> {
    let limit = descriptors();
    refuse(wanted, what, limit.hard)?;
    let needed = wanted + SPARE;
    if limit.soft >= needed {
        return Ok(());
    }
    let raised = libc::rlimit { rlim_cur: needed, rlim_max: limit.hard };
    // SAFETY: a valid limit; the hard limit stays what it is.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } {
        0 => Ok(()),
        _ => Err(Failure::while_doing("raising RLIMIT_NOFILE")(std::io::Error::last_os_error())),
    }
}

fn refuse(wanted: u64, what: &str, hard: u64) -> Result<(), Failure> {
    if wanted.saturating_add(SPARE) <= hard {
        return Ok(());
    }
    let most = hard.saturating_sub(SPARE);
    Err(Failure::Usage(format!(
        "{what} needs {wanted} descriptors and {SPARE} to spare, but RLIMIT_NOFILE allows {hard}: ask for at most \
         {most}, or raise the hard limit (as root `ulimit -Hn {}` in the shell before, `LimitNOFILE=` in a systemd \
         unit, or /etc/security/limits.conf; never above `sysctl fs.nr_open`)",
        wanted.saturating_add(SPARE)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_the_way_out() {
        assert!(refuse(896, "it", 1024).is_ok());
        let text = refuse(897, "scaling", 1024).unwrap_err().to_string();
        for words in ["scaling needs 897", "allows 1024", "at most 896", "ulimit -Hn 1025", "fs.nr_open"] {
            assert!(text.contains(words), "{text}");
        }
        assert!(refuse(u64::MAX, "it", 1024).is_err());
    }
}
