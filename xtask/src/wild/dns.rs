//! A client for dnsmasq: each query from a socket of its own, as resolvers do.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::client::Client;

/// Asks for the addresses of many names, one after the other.
///
/// # Errors
/// Where an answer does not come, or is none to the question.
pub fn ask(port: u16, queries: u16) -> Result<Client> {
    let mut times = Vec::new();
    for id in 0..queries {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        socket.connect(("127.0.0.1", port))?;
        let start = Instant::now();
        socket.send(&query(id))?;
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).with_context(|| format!("no answer to query {id}"))?;
        if length < 12 || answer[..2] != id.to_be_bytes() || answer[2] & 0x80 == 0 {
            bail!("query {id} got something that is no answer to it");
        }
        times.push(start.elapsed().as_nanos() as u64);
    }
    times.sort_unstable();
    Ok(Client { name: "client", requests: queries.into(), p50_ns: times.get(times.len() / 2).copied() })
}

/// A query for the A record of `nID.test` (RFC 1035, section 4).
fn query(id: u16) -> Vec<u8> {
    let mut packet = id.to_be_bytes().to_vec();
    // Recursion desired; one question.
    packet.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in [format!("n{id}"), "test".to_owned()] {
        packet.push(label.len() as u8);
        packet.extend(label.bytes());
    }
    packet.extend([0, 0, 1, 0, 1]);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_as_the_rfc_has_it() {
        let packet = query(7);
        assert_eq!(packet[..6], [0, 7, 1, 0, 0, 1]);
        assert_eq!(packet[12..], *b"\x02n7\x04test\0\0\x01\0\x01");
    }
}
