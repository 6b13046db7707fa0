//! The identity of a probe, for all that depends on whether it is attached.

macro_rules! probes {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal,)*) => {
        /// A probe of the table in `bpf/probes.rs`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ProbeId {
            $($(#[doc = $doc])* $variant,)*
        }

        impl ProbeId {
            /// Every probe, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The tracepoint or function in the kernel (the newest name where it was renamed), with a suffix where
            /// several probes attach to one place. `--without` takes this name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),*
                }
            }
        }
    };
}

probes! {
    /// A syscall begins.
    SysEnter = "sys_enter",
    /// A syscall ends.
    SysExit = "sys_exit",
    /// Second chance of [`ProbeId::SysEnter`].
    SysEnterAgain = "sys_enter_again",
    /// Second chance of [`ProbeId::SysExit`].
    SysExitAgain = "sys_exit_again",
    /// Second chance of [`ProbeId::SchedProcessFork`].
    SchedProcessForkAgain = "sched_process_fork_again",
    /// Second chance of [`ProbeId::SchedProcessExit`].
    SchedProcessExitAgain = "sched_process_exit_again",
    /// A CPU goes from one thread to another.
    SchedSwitch = "sched_switch",
    /// A thread is woken.
    SchedWaking = "sched_waking",
    /// A thread ends.
    SchedProcessExit = "sched_process_exit",
    /// A thread or process is created.
    SchedProcessFork = "sched_process_fork",
    /// A process executes a program.
    SchedProcessExec = "sched_process_exec",
    /// A thread gets another name.
    TaskRename = "task_rename",
    /// Data became ready on a socket.
    SkDataReady = "sk_data_ready",
    /// A receive from a socket ends.
    SockRecvLength = "sock_recv_length",
    /// A TCP socket ends.
    TcpDestroySock = "tcp_destroy_sock",
    /// A copy out of a socket buffer begins.
    SkbCopyDatagramIovec = "skb_copy_datagram_iovec",
    /// A TCP copy has ended.
    TcpRcvSpaceAdjust = "tcp_rcv_space_adjust",
    /// A socket buffer is freed after use: an `AF_UNIX` copy has ended.
    ConsumeSkb = "consume_skb",
    /// The kernel takes a page fault for a thread.
    PageFaultKernel = "page_fault_kernel",
    /// A signal is sent.
    SignalGenerate = "signal_generate",
    /// A signal reaches its handler.
    SignalDeliver = "signal_deliver",
    /// An io_uring request is submitted.
    IoUringSubmitReq = "io_uring_submit_req",
    /// The kernel polls for an io_uring request.
    IoUringPollArm = "io_uring_poll_arm",
    /// A polled io_uring request is woken.
    IoUringTaskAdd = "io_uring_task_add",
    /// An io_uring request goes to a worker thread.
    IoUringQueueAsyncWork = "io_uring_queue_async_work",
    /// An io_uring request completes.
    IoUringComplete = "io_uring_complete",
    /// Exact tier: entry of the function that copies out of a socket buffer.
    SkbCopyDatagramIter = "skb_copy_datagram_iter",
    /// Exact tier: return of the function that copies out of a socket buffer.
    SkbCopyDatagramIterReturn = "skb_copy_datagram_iter_return",
    /// Exact tier: a UDP datagram is taken from its queue.
    SkbRecvUdp = "__skb_recv_udp",
    /// Exact tier: a UDP datagram is given back after its copy.
    SkbConsumeUdp = "skb_consume_udp",
    /// Exact tier: io_uring begins to receive for a request.
    IoRecv = "io_recv",
    /// Exact tier: io_uring begins to read for a request.
    IoRead = "io_read",
}

impl ProbeId {
    /// The probe of this name, `None` if there is none.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|id| id.name() == name)
    }
}

impl std::fmt::Display for ProbeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_its_probe() {
        for &id in ProbeId::ALL {
            assert_eq!(ProbeId::by_name(id.name()), Some(id));
        }
        assert_eq!(ProbeId::by_name("sk_data_redy"), None);
    }
}
