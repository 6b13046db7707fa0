//! Whether a sleeping thread waits on a socket: itself, or by the epoll, poll or select set that the socket is in.
//!
//! `sk_data_ready` right before a wake-up says little by itself: whoever wakes may have sent to a socket that nobody
//! waits on, and then written to an eventfd. The socket's queue of waiters tells. Its lock is held by the waker, which
//! is in the middle of that queue when `sched_waking` runs.

use iotrace_ebpf::abi::Field;

use crate::maps;
use crate::memory::{peek, read};
use crate::task::Task;

/// Most waiters of a socket, and most threads in one `epoll_wait`, that are looked at.
const LOOKED_AT: usize = 4;

/// What watches `sock` on behalf of the thread at `sleeper`: the address of its epoll instance, or its own where it
/// polls or receives; 0: nothing does.
#[inline(never)]
pub fn watcher(task: &mut Task, sleeper: u64, sock: u64) -> u64 {
    let queue: u64 = read(sock, Field::SockWq);
    if queue == 0 {
        return 0;
    }
    let head = queue + maps::offset(Field::SocketWqHead);
    let mut entry: u64 = peek(head);
    for _ in 0..LOOKED_AT {
        if entry == head || entry == 0 {
            return 0;
        }
        let waiter = entry - maps::offset(Field::WaitEntry);
        let private: u64 = read(waiter, Field::WaitPrivate);
        if private == sleeper {
            return sleeper;
        }
        if private == 0 {
            // `ep_ptable_queue_proc` (`fs/eventpoll.c`): an epoll instance waits here, and threads wait on that.
            let item: u64 = read(waiter - maps::offset(Field::EppollWait), Field::EppollBase);
            let epoll: u64 = read(item, Field::EpitemEp);
            if epoll != 0 && (epoll == task.epoll || sleeps_in(epoll, sleeper)) {
                task.epoll = epoll;
                return epoll;
            }
        } else if read::<u64>(private, Field::PollTask) == sleeper {
            // `__pollwait` (`fs/select.c`) queues a structure that has the thread.
            return sleeper;
        }
        entry = peek(entry);
    }
    0
}

/// Whether a thread sleeps in `epoll_wait` on this instance.
#[inline(always)]
fn sleeps_in(epoll: u64, sleeper: u64) -> bool {
    let head = epoll + maps::offset(Field::EpollWq);
    let mut entry: u64 = peek(head);
    for _ in 0..LOOKED_AT {
        if entry == head || entry == 0 {
            return false;
        }
        let waiter = entry - maps::offset(Field::WaitEntry);
        if read::<u64>(waiter, Field::WaitPrivate) == sleeper {
            return true;
        }
        entry = peek(entry);
    }
    false
}
