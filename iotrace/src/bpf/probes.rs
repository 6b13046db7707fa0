//! The probe table: what iotrace attaches to, why, and what is lost without it.
//!
//! The loader, the doctor and the documentation read this one table. A tracepoint whose prototype
//! changed has several variants; the one that fits the running kernel's BTF is taken, never one
//! chosen by version.

use iotrace_core::domain::ProbeId;

use super::btf::Arg;
pub use super::hook::{Hook, Shape};
pub use super::probe::{Group, Probe, Variant};

const P: Arg = Arg::Pointer;
const N1: Arg = Arg::Number(1);
const N4: Arg = Arg::Number(4);
const N8: Arg = Arg::Number(8);

const fn only(program: &'static str, shape: Shape) -> Variant {
    variant(program, program, shape)
}

const fn variant(program: &'static str, tracepoint: &'static str, shape: Shape) -> Variant {
    Variant { program, tracepoint, hook: Hook::Tracepoint, shape }
}

const fn hooked(program: &'static str, function: &'static str, hook: Hook, shape: Shape) -> Variant {
    Variant { program, tracepoint: function, hook, shape }
}

const fn by_perf(program: &'static str, category: &'static str, tracepoint: &'static str) -> Variant {
    Variant { program, tracepoint, hook: Hook::Perf(category), shape: Begins(&[]) }
}

const BY_TRACEPOINTS: &str = "copies out of sockets lie between tracepoints, or are estimated";
const ESTIMATED: &str = "copies of small UDP datagrams are estimated";
const ISSUE: &str = "the way to an io_uring request's copy is part of its window";

/// A hook of the exact tier; what it feeds, and what is lost without it.
const fn exact(
    id: ProbeId,
    group: Group,
    [feeds, lost]: [&'static str; 2],
    variants: &'static [Variant],
) -> Probe {
    Probe { id, again_of: None, group, required: false, since: "5.5", feeds, lost, variants }
}

use Shape::{Begins, Exactly};

/// Every probe.
pub const PROBES: &[Probe] = &[
    Probe {
        id: ProbeId::SysEnter,
        again_of: None,
        group: Group::Core,
        required: true,
        since: "2.6.32",
        feeds: "the start of a call, its descriptor and arguments",
        lost: "everything",
        variants: &[only("sys_enter", Exactly(&[P, N8]))],
    },
    Probe {
        id: ProbeId::SysExit,
        again_of: None,
        group: Group::Core,
        required: true,
        since: "2.6.32",
        feeds: "the end of a call and its result",
        lost: "everything",
        variants: &[only("sys_exit", Exactly(&[P, N8]))],
    },
    Probe {
        id: ProbeId::SysEnterAgain,
        again_of: Some(ProbeId::SysEnter),
        group: Group::Core,
        required: false,
        since: "7.0",
        feeds: "calls whose first probe the kernel skipped, because a preempted one was under way on that CPU",
        lost: "such calls; they are counted",
        variants: &[by_perf("sys_enter_again", "raw_syscalls", "sys_enter")],
    },
    Probe {
        id: ProbeId::SysExitAgain,
        again_of: Some(ProbeId::SysExit),
        group: Group::Core,
        required: false,
        since: "7.0",
        feeds: "ends of calls whose first probe the kernel skipped",
        lost: "such calls; they are counted",
        variants: &[by_perf("sys_exit_again", "raw_syscalls", "sys_exit")],
    },
    Probe {
        id: ProbeId::SchedProcessForkAgain,
        again_of: Some(ProbeId::SchedProcessFork),
        group: Group::Follow,
        required: false,
        since: "7.0",
        feeds: "children whose first probe the kernel skipped",
        lost: "such children; they are counted",
        variants: &[by_perf("sched_process_fork_again", "task", "task_newtask")],
    },
    Probe {
        id: ProbeId::SchedProcessExitAgain,
        again_of: Some(ProbeId::SchedProcessExit),
        group: Group::Core,
        required: false,
        since: "7.0",
        feeds: "ends of threads whose first probe the kernel skipped",
        lost: "the room of such threads; they are counted",
        variants: &[by_perf("sched_process_exit_again", "sched", "sched_process_exit")],
    },
    Probe {
        id: ProbeId::SchedSwitch,
        again_of: None,
        group: Group::Core,
        required: true,
        since: "2.6.24",
        feeds: "when a thread leaves and gets the CPU: wait, lock, run queue",
        lost: "everything",
        variants: &[
            variant("sched_switch", "sched_switch", Exactly(&[N1, P, P, N4])),
            variant("sched_switch_3", "sched_switch", Exactly(&[N1, P, P])),
        ],
    },
    Probe {
        id: ProbeId::SchedWaking,
        again_of: None,
        group: Group::Core,
        required: true,
        since: "4.3",
        feeds: "the wake-up that ends a wait, and who woke",
        lost: "everything",
        variants: &[only("sched_waking", Begins(&[P]))],
    },
    Probe {
        id: ProbeId::SchedProcessExit,
        again_of: None,
        group: Group::Core,
        required: true,
        since: "2.6.24",
        feeds: "the end of a thread",
        lost: "everything",
        variants: &[only("sched_process_exit", Begins(&[P]))],
    },
    Probe {
        id: ProbeId::SchedProcessFork,
        again_of: None,
        group: Group::Follow,
        required: false,
        since: "2.6.24",
        feeds: "threads and children of the target, from their birth on",
        lost: "children are not followed, and the time of new threads is told from their first traced call on",
        variants: &[only("sched_process_fork", Begins(&[P, P]))],
    },
    Probe {
        id: ProbeId::SchedProcessExec,
        again_of: None,
        group: Group::Exec,
        required: false,
        since: "3.4",
        feeds: "the number and the name of a thread after execve",
        lost: "a single thread that executes a program is lost where it was not the first of its process",
        variants: &[only("sched_process_exec", Begins(&[P]))],
    },
    Probe {
        id: ProbeId::TaskRename,
        again_of: None,
        group: Group::Exec,
        required: false,
        since: "3.4",
        feeds: "new names of threads",
        lost: "a thread keeps the name that it had at its first call or execve, and stays matched by --comm",
        variants: &[only("task_rename", Begins(&[P, P]))],
    },
    Probe {
        id: ProbeId::SkDataReady,
        again_of: None,
        group: Group::Sockets,
        required: false,
        since: "6.3",
        feeds: "when data became ready on a socket",
        lost: "readiness is taken from the wake-up, and where nobody slept from the peer's clock",
        variants: &[
            only("sk_data_ready", Begins(&[P])),
            hooked("sock_def_readable", "sock_def_readable", Hook::Entry, Exactly(&[P])),
        ],
    },
    Probe {
        id: ProbeId::SockRecvLength,
        again_of: None,
        group: Group::Sockets,
        required: false,
        since: "6.3",
        feeds: "the end of a receive and its socket",
        lost: "estimated copies have a wider window; messages are joined by thread and time, not by socket",
        variants: &[
            only("sock_recv_length", Begins(&[P, N4])),
            hooked("sock_recvmsg", "sock_recvmsg", Hook::Return, Exactly(&[P, P, N4])),
        ],
    },
    Probe {
        id: ProbeId::TcpDestroySock,
        again_of: None,
        group: Group::Sockets,
        required: false,
        since: "4.16",
        feeds: "the end of a TCP socket",
        lost: "what is known of closed connections stays until the table of sockets is full",
        variants: &[only("tcp_destroy_sock", Begins(&[P]))],
    },
    Probe {
        id: ProbeId::SkbCopyDatagramIovec,
        again_of: None,
        group: Group::Copy,
        required: false,
        since: "2.6.33",
        feeds: "the start of a copy out of a socket buffer",
        lost: "every copy is estimated",
        variants: &[only("skb_copy_datagram_iovec", Begins(&[P, N4]))],
    },
    Probe {
        id: ProbeId::TcpRcvSpaceAdjust,
        again_of: None,
        group: Group::Copy,
        required: false,
        since: "4.18",
        feeds: "the end of a TCP copy",
        lost: "TCP copies end with the receive: they include the ACK",
        variants: &[only("tcp_rcv_space_adjust", Begins(&[P]))],
    },
    Probe {
        id: ProbeId::ConsumeSkb,
        again_of: None,
        group: Group::CopyUnix,
        required: false,
        since: "2.6.30",
        feeds: "the end of an AF_UNIX copy (UDP's too, up to 6.17)",
        lost: "AF_UNIX copies end with the receive",
        variants: &[only("consume_skb", Begins(&[P]))],
    },
    Probe {
        id: ProbeId::PageFaultKernel,
        again_of: None,
        group: Group::Core,
        required: false,
        since: "3.13",
        feeds: "page faults in the middle of a copy, which are no wait for data",
        lost: "a copy that sleeps in a page fault served by userfaultfd is taken for a wait",
        variants: &[only("page_fault_kernel", Begins(&[N8, P, N8]))],
    },
    Probe {
        id: ProbeId::SignalGenerate,
        again_of: None,
        group: Group::Signals,
        required: false,
        since: "2.6.33",
        feeds: "signals sent, and signals lost in one that was pending",
        lost: "the signal chain of model sigio",
        variants: &[only("signal_generate", Begins(&[N4, P, P, N4, N4]))],
    },
    Probe {
        id: ProbeId::SignalDeliver,
        again_of: None,
        group: Group::Core,
        required: false,
        since: "2.6.33",
        feeds: "signals that reached their handler",
        lost: "the signal chain of model sigio",
        variants: &[only("signal_deliver", Begins(&[N4, P, P]))],
    },
    Probe {
        id: ProbeId::IoUringSubmitReq,
        again_of: None,
        group: Group::Submissions,
        required: false,
        since: "5.5",
        feeds: "io_uring requests handed over",
        lost: "io_uring requests",
        variants: &[
            variant("io_uring_submit_req", "io_uring_submit_req", Exactly(&[P])),
            variant("io_uring_submit_req", "io_uring_submit_sqe", Exactly(&[P, N1])),
            variant("io_uring_submit_515", "io_uring_submit_sqe", Begins(&[P, P, N1, N8])),
        ],
    },
    Probe {
        id: ProbeId::IoUringPollArm,
        again_of: None,
        group: Group::Uring,
        required: false,
        since: "5.7",
        feeds: "io_uring requests that the kernel polls",
        lost: "how a request was served",
        variants: &[
            variant("io_uring_poll_arm_req", "io_uring_poll_arm", Exactly(&[P, N4, N4])),
            variant("io_uring_poll_arm_515", "io_uring_poll_arm", Begins(&[P, P, N1, N8])),
        ],
    },
    Probe {
        id: ProbeId::IoUringTaskAdd,
        again_of: None,
        group: Group::Uring,
        required: false,
        since: "5.7",
        feeds: "the wake-up of a polled io_uring request",
        lost: "readiness of io_uring requests before 6.3",
        variants: &[
            variant("io_uring_task_add_req", "io_uring_task_add", Exactly(&[P, N4])),
            variant("io_uring_task_add_515", "io_uring_task_add", Begins(&[P, N1, N8, N4])),
        ],
    },
    Probe {
        id: ProbeId::IoUringQueueAsyncWork,
        again_of: None,
        group: Group::Uring,
        required: false,
        since: "5.5",
        feeds: "io_uring requests handed to a worker",
        lost: "how a request was served",
        variants: &[
            variant("io_uring_queue_async_req", "io_uring_queue_async_work", Exactly(&[P, N4])),
            variant("io_uring_queue_async_req", "io_uring_queue_async_work", Exactly(&[P, N1])),
            variant("io_uring_queue_async_515", "io_uring_queue_async_work", Begins(&[P, N4, P])),
        ],
    },
    Probe {
        id: ProbeId::IoUringComplete,
        again_of: None,
        group: Group::Uring,
        required: false,
        since: "5.5",
        feeds: "io_uring completions",
        lost: "io_uring requests",
        variants: &[
            variant("io_uring_complete_cqe", "io_uring_complete", Exactly(&[P, P, P])),
            variant("io_uring_complete_req", "io_uring_complete", Begins(&[P, P, N8, N4])),
            variant("io_uring_complete_515", "io_uring_complete", Begins(&[P, N8, N4])),
        ],
    },
    exact(
        ProbeId::SkbCopyDatagramIter,
        Group::ExactSockets,
        ["exact tier: the start of a copy out of a socket buffer", BY_TRACEPOINTS],
        &[hooked("skb_copy_entry", "skb_copy_datagram_iter", Hook::Entry, Exactly(&[P, N4, P, N4]))],
    ),
    exact(
        ProbeId::SkbCopyDatagramIterReturn,
        Group::ExactSockets,
        ["exact tier: the end of a copy out of a socket buffer", BY_TRACEPOINTS],
        &[hooked("skb_copy_return", "skb_copy_datagram_iter", Hook::Return, Exactly(&[P, N4, P, N4]))],
    ),
    exact(
        ProbeId::SkbRecvUdp,
        Group::ExactDatagrams,
        ["exact tier: a UDP datagram taken from its queue, the start of its copy", ESTIMATED],
        &[
            hooked("datagram_entry", "__skb_recv_udp", Hook::Return, Exactly(&[P, N4, P, P])),
            hooked("datagram_entry_noblock", "__skb_recv_udp", Hook::Return, Exactly(&[P, N4, N4, P, P])),
        ],
    ),
    exact(
        ProbeId::SkbConsumeUdp,
        Group::ExactDatagrams,
        ["exact tier: a UDP datagram given back, the end of its copy", ESTIMATED],
        &[hooked("datagram_return", "skb_consume_udp", Hook::Entry, Exactly(&[P, P, N4]))],
    ),
    exact(
        ProbeId::IoRecv,
        Group::ExactUring,
        ["exact tier: when io_uring begins to receive for a request", ISSUE],
        &[hooked("uring_recv_entry", "io_recv", Hook::Entry, Exactly(&[P, N4]))],
    ),
    exact(
        ProbeId::IoRead,
        Group::ExactUring,
        ["exact tier: when io_uring begins to read for a request", ISSUE],
        &[hooked("uring_read_entry", "io_read", Hook::Entry, Exactly(&[P, N4]))],
    ),
];

#[cfg(test)]
#[path = "probes_tests.rs"]
mod tests;
