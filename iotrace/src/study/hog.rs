//! A process that keeps one CPU busy.

use crate::session::error::Failure;
use crate::workload;

/// A process that computes on one CPU until this is dropped.
#[derive(Debug)]
pub struct Hog {
    pid: libc::pid_t,
}

impl Hog {
    /// Starts a process that computes on CPU `cpu`.
    ///
    /// # Errors
    /// `fork` failed.
    pub fn on(cpu: u32) -> Result<Self, Failure> {
        // SAFETY: a study has one thread when it starts a hog, and the child makes plain calls only.
        match unsafe { libc::fork() } {
            -1 => Err(Failure::while_doing("forking the process that keeps a CPU busy")(
                std::io::Error::last_os_error(),
            )),
            0 => {
                // SAFETY: takes its argument by value. Ctrl-C is for the parent, which ends this process.
                unsafe {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    libc::signal(libc::SIGINT, libc::SIG_IGN);
                }
                if workload::pin(cpu as usize).is_err() {
                    // SAFETY: ends this child and nothing else.
                    unsafe { libc::_exit(1) }
                }
                loop {
                    std::hint::black_box(workload::own_work(1000));
                }
            }
            pid => Ok(Self { pid }),
        }
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        // SAFETY: our own child, not reaped yet; SIGKILL cannot be ignored, so the wait returns.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, std::ptr::null_mut(), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_until_dropped() {
        let (cpu, _) = workload::two_cpus(None).map_or((0, 0), |(own, other)| (own as u32, other));
        let hog = Hog::on(cpu).unwrap();
        let pid = hog.pid;
        // SAFETY: signal 0 sends nothing.
        let there = || unsafe { libc::kill(pid, 0) } == 0;
        assert!(there());
        drop(hog);
        assert!(!there(), "killed and reaped");
    }
}
