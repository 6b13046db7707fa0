//! Claims about the number of descriptors that select, poll and epoll take.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::{Figure, Trial};
use crate::study::ask::Asker;
use crate::study::limits::{descriptors, make_room};
use crate::study::pair::Pair;
use iotrace_core::domain::model::Transport;
use iotrace_core::report::count;
use iotrace_core::summary::{Ruling, Source};

/// A descriptor beyond both limits that are claimed for select.
const HIGH: i32 = 3000;
/// A number of descriptors beyond both limits that are claimed for select.
const MANY: usize = 2500;

pub const SELECT: Trial = Trial {
    id: "select-limit",
    claim: "select's limit is 1024 on 32-bit and 2048 on 64-bit systems",
    experiment: "The bits of the C library's fd_set are counted; select gets a larger set of the caller's own, with \
                 descriptor 3000, which has data",
    rule: "holds if fd_set has 2048 bits (1024 on 32-bit) and select reports no descriptor beyond; else it \
             does not hold",
    observed: false,
    measures: &[
        Figure::of("bits of fd_set", "bits", Source::Count),
        Figure::of("highest descriptor that select told of", "", Source::Count),
    ],
    run: |bench| {
        make_room(HIGH as u64, "a descriptor above 2048")
            .map_err(|failure| io::Error::other(failure.to_string()))?;
        let pair = Pair::new(Transport::Unix)?;
        pair.write(&[1])?;
        let mut highest = 0;
        for number in [1000, 1500, HIGH] {
            // SAFETY: makes a new descriptor of an open one, at this number or above.
            let high = unsafe { libc::fcntl(pair.reader(), libc::F_DUPFD_CLOEXEC, number) };
            if high < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: just made, and nothing else owns it.
            let high = unsafe { OwnedFd::from_raw_fd(high) };
            if Asker::new("select", &[high.as_raw_fd()])?.ask(false)? == 1 {
                highest = high.as_raw_fd();
            }
        }
        bench.put("bits of fd_set", (size_of::<libc::fd_set>() * 8) as f64);
        bench.put("highest descriptor that select told of", f64::from(highest));
        Ok(())
    },
    judge: |found| {
        let (bits, highest) =
            (found.get("bits of fd_set")?, found.get("highest descriptor that select told of")?);
        let told = if usize::BITS == 64 { 2048.0 } else { 1024.0 };
        let because = format!(
            "fd_set has {} bits on this {}-bit system, and with a larger set the kernel reported descriptor {}: the \
             limit belongs to the library's type, not to the call.",
            count(bits as u64),
            usize::BITS,
            count(highest as u64)
        );
        Some((if bits == told && highest < told { Ruling::Holds } else { Ruling::Fails }, because))
    },
};

pub const POLL: Trial = Trial {
    id: "poll-no-limit",
    claim: "poll uses a linked list and has no limit",
    experiment: "poll with as many entries as RLIMIT_NOFILE allows, and with one more",
    rule: "holds if both are taken; with a condition if only the first is (the limit is RLIMIT_NOFILE); else it does \
           not hold. The kernel's copy cannot be seen from user space; what the call hands over is an array",
    observed: false,
    measures: &[
        Figure::of("as many as the limit: taken", "of 1", Source::Count),
        Figure::of("one more: refused with EINVAL", "of 1", Source::Count),
    ],
    run: |bench| {
        let most = descriptors().soft.min(1 << 20) as usize;
        let mut list = vec![libc::pollfd { fd: -1, events: libc::POLLIN, revents: 0 }; most + 1];
        let mut poll = |entries: usize| {
            // SAFETY: the list is at least as long as it says.
            let found = unsafe { libc::poll(list.as_mut_ptr(), entries as libc::nfds_t, 0) };
            if found < 0 { io::Error::last_os_error().raw_os_error().unwrap_or(0) } else { 0 }
        };
        let (within, beyond) = (poll(most), poll(most + 1));
        bench.put("as many as the limit: taken", f64::from(within == 0));
        bench.put("one more: refused with EINVAL", f64::from(beyond == libc::EINVAL));
        Ok(())
    },
    judge: |found| {
        let taken = found.get("as many as the limit: taken")? >= 1.0;
        let refused = found.get("one more: refused with EINVAL")? >= 1.0;
        Some(match (taken, refused) {
            (true, false) => (Ruling::Holds, "poll took more entries than RLIMIT_NOFILE.".to_owned()),
            (true, true) => (
                Ruling::Conditional,
                "poll took as many entries as the process may have descriptors (RLIMIT_NOFILE), and refused one more."
                    .to_owned(),
            ),
            (false, _) => (Ruling::Fails, "poll refused RLIMIT_NOFILE entries.".to_owned()),
        })
    },
};

pub const EPOLL: Trial = Trial {
    id: "epoll-memory-only",
    claim: "epoll has no limit but memory",
    experiment: "2500 descriptors registered with one epoll, and fs.epoll.max_user_watches read",
    rule: "holds if all are taken and no limit is set; with a condition if all are taken and a sysctl limits each \
           user; else it does not hold",
    observed: false,
    measures: &[
        Figure::of("descriptors registered", "", Source::Count),
        Figure::of("fs.epoll.max_user_watches", "", Source::Count),
    ],
    run: |bench| {
        make_room(MANY as u64 + 16, "epoll with 2500 descriptors")
            .map_err(|failure| io::Error::other(failure.to_string()))?;
        let pair = Pair::new(Transport::Unix)?;
        let mut copies = Vec::new();
        for _ in 0..MANY {
            // SAFETY: makes a new descriptor of an open one.
            let copy = unsafe { libc::fcntl(pair.reader(), libc::F_DUPFD_CLOEXEC, 0) };
            if copy < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: just made, and nothing else owns it.
            copies.push(unsafe { OwnedFd::from_raw_fd(copy) });
        }
        let fds: Vec<i32> = copies.iter().map(AsRawFd::as_raw_fd).collect();
        pair.write(&[1])?;
        let told = Asker::new("epoll", &fds)?.ask(false)?;
        bench.put("descriptors registered", told as f64);
        let sysctl = fs::read_to_string("/proc/sys/fs/epoll/max_user_watches").unwrap_or_default();
        bench.put("fs.epoll.max_user_watches", sysctl.trim().parse().unwrap_or(0.0));
        Ok(())
    },
    judge: |found| {
        let (taken, most) = (found.get("descriptors registered")?, found.get("fs.epoll.max_user_watches")?);
        Some(match (taken >= MANY as f64, most > 0.0) {
            (true, false) => {
                (Ruling::Holds, format!("epoll took all {}, and no sysctl limits it.", count(taken as u64)))
            }
            (true, true) => (
                Ruling::Conditional,
                format!(
                    "epoll took all {}. fs.epoll.max_user_watches lets a user register {}, a share of memory that the \
                     kernel computes at boot (eventpoll_init) and root can change.",
                    count(taken as u64),
                    count(most as u64)
                ),
            ),
            (false, _) => {
                (Ruling::Fails, format!("epoll took {} of {}.", count(taken as u64), count(MANY as u64)))
            }
        })
    },
};
