//! For whose answers a process waited: for data on the TCP connections that it made.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::collections::BTreeMap;

use iotrace_ebpf::abi::kernel::family;
use iotrace_ebpf::abi::{LifeSum, PeerKey, listener};

use crate::rows::names::Names;
use crate::rows::sums::Snapshot;
use crate::summary::Reply;

/// Most peers that are told.
const TOLD: usize = 8;

/// Those that a process waited for, the longest first. A connection whose local port is listened on was accepted, and what
/// comes on it is a request.
pub fn of(pid: u32, snapshot: &Snapshot, names: &Names) -> Vec<Reply> {
    let made = |key: &PeerKey| !names.listening.contains(&listener(key.network, key.local));
    let mut peers: BTreeMap<SocketAddr, LifeSum> = BTreeMap::new();
    for (key, sum) in snapshot.peers.iter().filter(|(key, _)| key.tgid == pid && made(key)) {
        let known = peers.entry(SocketAddr::new(address(key), key.remote)).or_default();
        known.ns = known.ns.saturating_add(sum.ns);
        known.times = known.times.saturating_add(sum.times);
    }
    let reply = |(peer, sum): (SocketAddr, LifeSum)| Reply {
        endpoint: format!("tcp {peer}"),
        wait_ns: sum.ns,
        waits: sum.times,
    };
    let mut all: Vec<Reply> = peers.into_iter().map(reply).collect();
    all.sort_by_key(|one| std::cmp::Reverse(one.wait_ns));
    all.truncate(TOLD);
    all
}

fn address(key: &PeerKey) -> IpAddr {
    if key.family == u32::from(family::INET6) {
        return Ipv6Addr::from(key.address).to_canonical();
    }
    let [a, b, c, d, ..] = key.address;
    Ipv4Addr::new(a, b, c, d).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_connections_that_were_made_bring_replies() {
        let mut address = [0; 16];
        address[..4].copy_from_slice(&[127, 0, 0, 1]);
        let key = |local, remote| PeerKey {
            address,
            tgid: 7,
            network: 1,
            local,
            remote,
            family: family::INET.into(),
        };
        let sum = |ns| LifeSum { ns, times: 1 };
        let peers = [(key(80, 50_000), sum(900)), (key(40_000, 81), sum(5)), (key(40_001, 81), sum(6))];
        let snapshot = Snapshot { peers: peers.into(), ..Snapshot::default() };
        let names = Names { listening: [listener(1, 80)].into(), ..Names::default() };
        let reply = Reply { endpoint: "tcp 127.0.0.1:81".to_owned(), wait_ns: 11, waits: 2 };
        assert_eq!(of(7, &snapshot, &names), [reply]);
        assert!(of(8, &snapshot, &names).is_empty());
    }
}
