//! The lives of asynchronous requests: submitted → ready → copied → completed → seen.

use std::collections::HashMap;

use iotrace_ebpf::abi::{UringEvent, UringRecord};

use crate::domain::dist::Histogram;
use crate::domain::spec::Counters;
use crate::domain::traffic::{RequestKind, Traffic, Window};
use crate::messages::operation::Operation;
use crate::messages::transfer::Place;
use crate::records::journal::Journal;
use crate::summary::{CopiedIn, Requests};

/// Sums up the requests of a program; `None` where it makes none. `counters` are the program's own.
pub fn requests(
    journal: &Journal,
    operations: &[Operation],
    traffic: &Traffic<'_>,
    counters: &Counters,
) -> Option<Requests> {
    let kind = traffic.requests?;
    let served = (kind == RequestKind::Uring).then(|| Served::of(journal, traffic.measured));
    // No events at all: the kernel has none, or their tracepoint is missing.
    let recorded = |count: &dyn Fn(&Served) -> u64| served.as_ref().map(count).filter(|&count| count > 0);
    let times = |time: &dyn Fn(&Operation) -> Option<u64>| {
        operations.iter().filter_map(time).collect::<Histogram>().measured()
    };
    // A poll request is complete when the socket is ready; its copy is a data call of its own.
    let copies = kind != RequestKind::SubmitPoll;
    let completed = |operation: &Operation| operation.transfers.last().map(|transfer| transfer.end);
    Some(Requests {
        submitted: recorded(&|served| served.submitted).unwrap_or(counters.submitted),
        completed: recorded(&|served| served.completed).unwrap_or(counters.completed),
        inline: served.as_ref().map(|served| served.inline),
        polled: served.as_ref().map(|served| served.polled),
        worker: served.as_ref().map(|served| served.worker),
        submit_to_ready: times(&|operation| Some(operation.ready.saturating_sub(operation.message.want_ns))),
        ready_to_copy: times(&|operation| Some(operation.pickup())),
        copy_to_complete: times(&|operation| {
            let last = operation.transfers.last().filter(|_| copies)?;
            Some(last.end.saturating_sub(last.copy_to))
        }),
        complete_to_seen: times(&|operation| {
            Some(operation.message.have_ns.saturating_sub(completed(operation).filter(|_| copies)?))
        }),
        copied_in: copied_in(operations),
    })
}

fn copied_in(operations: &[Operation]) -> CopiedIn {
    let mut places = CopiedIn::default();
    for transfer in operations.iter().flat_map(|operation| &operation.transfers) {
        *match transfer.place {
            Place::DataCall => &mut places.data_call,
            Place::OwnCall => &mut places.own_call,
            Place::TaskWork => &mut places.task_work,
            Place::Helper => &mut places.helper,
            Place::Worker => &mut places.worker,
            Place::Sqpoll => &mut places.sqpoll,
        } += 1;
    }
    places
}

/// How io_uring served its requests, in requests.
#[derive(Default)]
struct Served {
    submitted: u64,
    completed: u64,
    inline: u64,
    polled: u64,
    worker: u64,
}

impl Served {
    /// A request belongs to the measured window when it was completed in it; its
    /// earlier events are found by its user data, which at most one open request has at a time.
    fn of(journal: &Journal, measured: Window) -> Self {
        #[derive(Default)]
        struct Way {
            polled: bool,
            worker: bool,
        }
        let mut served = Self::default();
        let mut ways: HashMap<u64, Way> = HashMap::new();
        let mut requests: HashMap<u64, u64> = HashMap::new();
        let inside = |event: &UringRecord| measured.holds(event.head.at);
        for event in &journal.uring {
            match UringEvent::try_from(event.event) {
                Ok(UringEvent::Submit) => {
                    served.submitted += u64::from(inside(event));
                    requests.insert(event.req, event.user_data);
                    ways.insert(event.user_data, Way::default());
                }
                // A multishot request arms its poll once, and is woken for each completion.
                Ok(UringEvent::PollArm | UringEvent::TaskAdd) => {
                    ways.entry(event.user_data).or_default().polled = true;
                }
                // Before 6.0 this event names the request alone.
                Ok(UringEvent::QueueAsync) => {
                    let known = requests.get(&event.req).copied().unwrap_or(event.user_data);
                    ways.entry(known).or_default().worker = true;
                }
                Ok(UringEvent::Complete) if inside(event) => {
                    served.completed += 1;
                    let way = ways.remove(&event.user_data).unwrap_or_default();
                    *if way.worker {
                        &mut served.worker
                    } else if way.polled {
                        &mut served.polled
                    } else {
                        &mut served.inline
                    } += 1;
                }
                _ => {}
            }
        }
        served
    }
}
