//! Transfers: the moments at which bytes of a message reached the application's memory, whatever
//! carried them: a data call, an `io_submit` that blocked, or an io_uring request.

use std::collections::{HashMap, VecDeque};

use iotrace_ebpf::abi::traits::{REQUESTS, SUBMIT_READS};
use iotrace_ebpf::abi::{RecvRecord, UringEvent, UringRecord};
use iotrace_ebpf::book::{self, Recorded};

use crate::domain::traffic::{RequestKind, Traffic};
use crate::domain::{Role, ThreadRole, syscall};
use crate::records::copy::{Before, Seen, seen_in};
use crate::records::journal::{Entry, Journal};

/// Where a copy ran, seen from the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// An ordinary data call of an application thread.
    DataCall,
    /// The model's own submit or completion call.
    OwnCall,
    /// Task work of an application thread outside the model's calls.
    TaskWork,
    /// A helper thread of the C library.
    Helper,
    /// An io-wq worker.
    Worker,
    /// The SQ polling thread.
    Sqpoll,
}

impl Place {
    /// Whether the copy took time of the application's own thread.
    pub fn is_app(self) -> bool {
        matches!(self, Place::DataCall | Place::OwnCall | Place::TaskWork)
    }
}

/// One arrival of bytes in the memory of the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Id of the thread that copied.
    pub tid: u32,
    /// Index of the connection, see [`Traffic::connections`].
    pub connection: u32,
    /// When the call was entered or the request submitted, ns.
    pub enter: u64,
    /// When its thread got the CPU for it the last time, ns: it copies after this moment.
    pub on_cpu: u64,
    /// Start of the copy, or of the window it lies in, ns.
    pub copy_from: u64,
    /// End of the copy, or of the window it lies in, ns.
    pub copy_to: u64,
    /// When the call returned or the request completed, ns.
    pub end: u64,
    /// Number of bytes; `None` where no record tells.
    pub bytes: Option<u64>,
    /// What the records show of the copy.
    pub seen: Seen,
    /// Where the copy ran.
    pub place: Place,
    /// Address of its socket; 0: not known.
    pub sock: u64,
}

/// All transfers to the connections of `traffic`, in order of their end.
pub fn transfers(journal: &Journal, traffic: &Traffic<'_>) -> Vec<Transfer> {
    let mut all: Vec<Transfer> =
        journal.calls.iter().filter_map(|entry| by_call(journal, entry, traffic)).collect();
    if traffic.requests == Some(RequestKind::Uring) {
        all.extend(by_request(journal, traffic));
    }
    all.sort_by_key(|transfer| transfer.end);
    all
}

fn by_call(journal: &Journal, entry: &Entry, traffic: &Traffic<'_>) -> Option<Transfer> {
    let call = &entry.call;
    if call.ret <= 0 {
        return None;
    }
    let (connection, place, bytes) = if entry.role() == Role::Data {
        let connection = traffic.connections.iter().position(|connection| connection.fd == call.fd)?;
        let app = journal.thread_role(call.head.tid, traffic.app_threads) == ThreadRole::App;
        (connection, if app { Place::DataCall } else { Place::Helper }, Some(call.ret as u64))
    } else if syscall::is(call.nr, SUBMIT_READS) && traffic.requests == Some(RequestKind::SubmitRead) {
        let bytes = call.copy_bytes.max(call.recv_bytes);
        (0, Place::OwnCall, (bytes > 0).then_some(bytes))
    } else {
        return None;
    };
    let stretch = book::stretch(&Recorded { call, traits: syscall::traits_of(call.nr) });
    let marked = call.copies > 0;
    Some(Transfer {
        tid: call.head.tid,
        connection: connection as u32,
        enter: call.enter,
        on_cpu: stretch.from,
        copy_from: if marked { call.copy_first } else { stretch.from },
        copy_to: if marked { call.copy_last } else { stretch.to },
        end: call.head.at,
        bytes,
        // An `io_submit` that found data and whose receive no mark counted: its bytes are not known.
        seen: seen_in(call).unwrap_or(Seen::Window {
            upper: stretch.to.saturating_sub(stretch.from),
            before: Before::Running,
            bytes: 0,
        }),
        place,
        sock: call.sock,
    })
}

/// The request of a user data under way.
#[derive(Clone, Copy, Default)]
struct Begun {
    /// When the request was submitted, ns.
    submitted: u64,
    /// When the kernel last began to carry the request out, or told a thread to, ns.
    started: u64,
    /// Whether `started` is when the kernel began: known where functions are hooked.
    issued: bool,
}

impl Begun {
    fn again(&mut self, at: u64, issued: bool) {
        if self.submitted == 0 {
            self.submitted = at; // submitted before tracing began
        }
        (self.started, self.issued) = (at, issued);
    }
}

/// What one thread has received and copied, and not yet completed.
#[derive(Default)]
struct Pending {
    raw: u64,
    copies: u64,
    first: u64,
    last: u64,
    received: VecDeque<(RecvRecord, Option<Seen>, u64, u64)>,
    /// The thread worked on another request until this moment, ns.
    busy_until: u64,
}

/// A step in the life of requests, in order of time.
enum Step<'a> {
    Copy(&'a iotrace_ebpf::abi::CopyRecord),
    Recv(&'a RecvRecord),
    Uring(&'a UringRecord),
}

impl Step<'_> {
    fn at(&self) -> u64 {
        match self {
            Step::Copy(copy) => copy.head.at,
            Step::Recv(recv) => recv.head.at,
            Step::Uring(event) => event.head.at,
        }
    }
}

/// Joins copies, receives and completions of io_uring: a receive owns the copies of its thread before
/// it, a completion owns the oldest receive of its thread (completions are flushed in the order in
/// which requests were carried out).
fn by_request(journal: &Journal, traffic: &Traffic<'_>) -> Vec<Transfer> {
    let mut steps: Vec<Step<'_>> = journal.copies.iter().map(Step::Copy).collect();
    steps.extend(journal.recvs.iter().map(Step::Recv));
    steps.extend(journal.uring.iter().map(Step::Uring));
    steps.sort_by_key(Step::at);

    let mut threads: HashMap<u32, Pending> = HashMap::new();
    let mut begun: HashMap<u64, Begun> = HashMap::new();
    let mut all = Vec::new();
    for step in steps {
        match step {
            Step::Copy(copy) => {
                let pending = threads.entry(copy.head.tid).or_default();
                if pending.copies == 0 {
                    pending.first = copy.window.begin;
                }
                pending.raw += copy.window.length();
                pending.copies += 1;
                pending.last = copy.head.at;
            }
            Step::Recv(recv) if recv.ret > 0 => threads.entry(recv.head.tid).or_default().receive(*recv),
            Step::Recv(recv) => threads.entry(recv.head.tid).or_default().busy_until = recv.head.at,
            Step::Uring(event) => match UringEvent::try_from(event.event) {
                Ok(UringEvent::Submit) => {
                    let at = event.head.at;
                    begun.insert(event.user_data, Begun { submitted: at, started: at, issued: false });
                }
                Ok(UringEvent::TaskAdd) => {
                    begun.entry(event.user_data).or_default().again(event.head.at, false);
                }
                Ok(UringEvent::Issue) => {
                    begun.entry(event.user_data).or_default().again(event.head.at, true);
                }
                Ok(UringEvent::Complete) if event.res > 0 => {
                    let pending = threads.entry(event.head.tid).or_default();
                    let begun = begun.get(&event.user_data).copied().unwrap_or_default();
                    all.push(pending.complete(event, begun, journal, traffic));
                }
                _ => {}
            },
        }
    }
    all
}

impl Pending {
    fn receive(&mut self, recv: RecvRecord) {
        let seen = self.take_marked();
        let (first, last) = (self.first, self.last);
        self.received.push_back((recv, seen, first, last));
    }

    fn take_marked(&mut self) -> Option<Seen> {
        let seen = (self.copies > 0).then_some(Seen::Marked { raw: self.raw, copies: self.copies });
        (self.raw, self.copies) = (0, 0);
        seen
    }

    fn complete(
        &mut self,
        event: &UringRecord,
        begun: Begun,
        journal: &Journal,
        traffic: &Traffic<'_>,
    ) -> Transfer {
        let (end_of_window, last_in, nr, tid, sock, marked, first, last) = match self.received.pop_front() {
            Some((recv, seen, first, last)) => {
                (recv.head.at, recv.last_in, recv.nr, recv.head.tid, recv.sock, seen, first, last)
            }
            None => {
                let seen = self.take_marked();
                (event.head.at, event.last_in, event.nr, event.head.tid, 0, seen, self.first, self.last)
            }
        };
        let on_cpu = begun.started.max(last_in).max(self.busy_until).min(end_of_window);
        self.busy_until = end_of_window;
        let before = if last_in == on_cpu {
            Before::Slept
        } else if begun.started > begun.submitted && begun.started == on_cpu && !begun.issued {
            Before::Kicked
        } else {
            Before::Running
        };
        let window = Seen::Window { upper: end_of_window - on_cpu, before, bytes: event.res as u64 };
        let is_marked = marked.is_some();
        let seen = marked.unwrap_or(window);
        let place = match journal.thread_role(tid, traffic.app_threads) {
            ThreadRole::Sqpoll => Place::Sqpoll,
            ThreadRole::Worker => Place::Worker,
            ThreadRole::Helper => Place::Helper,
            ThreadRole::App if syscall::is(nr, REQUESTS) => Place::OwnCall,
            ThreadRole::App => Place::TaskWork,
        };
        Transfer {
            tid,
            connection: event.user_data as u32,
            enter: begun.submitted,
            on_cpu,
            copy_from: if is_marked { first } else { on_cpu },
            copy_to: if is_marked { last } else { end_of_window },
            end: event.head.at,
            bytes: Some(event.res as u64),
            seen,
            place,
            sock,
        }
    }
}
