//! Makes the connections: tcp(7), udp(7), unix(7) stream pairs and pipe(7), on this machine only.

use std::fmt::Display;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use super::sys::{failure, io_failure};
use iotrace_core::domain::model::Transport;
use iotrace_core::domain::spec::{Failure, Spec};

/// Number of descriptors kept free for everything that is not a connection (standard streams, rings, libraries).
const SPARE_FDS: u64 = 64;

/// One connection, before the fork.
#[derive(Debug)]
pub struct Pair {
    /// The end that receives.
    pub reader: OwnedFd,
    /// The end that sends.
    pub sender: OwnedFd,
    /// Name of the connection: the address of the reader, `socketpair` or `pipe`.
    pub name: String,
}

/// Makes the connections of `spec`; the readers get consecutive low descriptors.
///
/// # Errors
/// The limit on descriptors is too low, the port is in use, or the kernel refused a connection.
pub fn pairs(spec: &Spec) -> Result<Vec<Pair>, Failure> {
    ensure_fds(u64::from(spec.connections))?;
    let mut pairs = Vec::with_capacity(spec.connections as usize);
    let mut make = maker(spec)?;
    for index in 0..spec.connections {
        let mut pair = make(index)?;
        if spec.connections > 1 {
            pair.sender = lift(&pair.sender, spec.connections)?;
        }
        pairs.push(pair);
    }
    Ok(pairs)
}

/// A connection on the loopback interface that could not be made. In a new network namespace that interface is down.
fn on_loopback(transport: &str, error: &io::Error) -> Failure {
    let failed = format!("connecting over {transport} on 127.0.0.1");
    match error.raw_os_error() {
        Some(libc::ENETUNREACH) => failure(
            "io",
            format_args!(
                "{failed} failed: {error}. The loopback interface of this network namespace is down: ip link set lo up, or \
                 use --transport unix"
            ),
        ),
        _ => io_failure(failed, error),
    }
}

/// A function that makes the connection with the given index.
type Maker = Box<dyn FnMut(u32) -> Result<Pair, Failure>>;

/// The function that makes the connections. The listener, which they share, is made once, here.
fn maker(spec: &Spec) -> Result<Maker, Failure> {
    let port = spec.port;
    Ok(match spec.transport {
        Transport::Tcp => {
            let listener =
                TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|e| bind_failure("tcp", port, &e))?;
            Box::new(move |_| tcp(&listener).map_err(|e| on_loopback("tcp", &e)))
        }
        Transport::Udp => Box::new(move |index| {
            // A port belongs to one UDP socket, so only the first connection gets the port that was asked for.
            let port = if index == 0 { port } else { 0 };
            let reader =
                UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).map_err(|e| bind_failure("udp", port, &e))?;
            udp(reader).map_err(|e| on_loopback("udp", &e))
        }),
        Transport::Unix => Box::new(|_| {
            let (reader, sender) = UnixStream::pair().map_err(|e| io_failure("socketpair", &e))?;
            Ok(Pair { reader: reader.into(), sender: sender.into(), name: "socketpair".into() })
        }),
        Transport::Pipe => Box::new(|_| {
            let (reader, sender) = io::pipe().map_err(|e| io_failure("pipe2", &e))?;
            Ok(Pair { reader: reader.into(), sender: sender.into(), name: "pipe".into() })
        }),
    })
}

fn tcp(listener: &TcpListener) -> io::Result<Pair> {
    let sender = TcpStream::connect(listener.local_addr()?)?;
    // Without it a message could wait for the acknowledgement of the one before (Nagle, tcp(7)).
    sender.set_nodelay(true)?;
    let own = sender.local_addr()?;
    loop {
        // A connection from another program is dropped.
        let (reader, from) = listener.accept()?;
        if from == own {
            let name = reader.local_addr()?.to_string();
            return Ok(Pair { reader: reader.into(), sender: sender.into(), name });
        }
    }
}

fn udp(reader: UdpSocket) -> io::Result<Pair> {
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address: SocketAddr = reader.local_addr()?;
    reader.connect(sender.local_addr()?)?;
    sender.connect(address)?;
    // The kernel cuts this down to net.core.rmem_max, socket(7). That does no harm: the peer stays below it.
    let bytes: libc::c_int = 4 << 20;
    // SAFETY: SO_RCVBUF reads one c_int, which `bytes` is.
    unsafe {
        let size = size_of_val(&bytes) as libc::socklen_t;
        libc::setsockopt(
            reader.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUF,
            (&raw const bytes).cast(),
            size,
        );
    }
    Ok(Pair { reader: reader.into(), sender: sender.into(), name: address.to_string() })
}

/// Moves a sender's descriptor past those of the readers: `select` takes only the low ones.
fn lift(fd: &impl AsFd, connections: u32) -> Result<OwnedFd, Failure> {
    let floor = RawFd::try_from(u64::from(connections) + SPARE_FDS).unwrap_or(RawFd::MAX);
    // SAFETY: F_DUPFD_CLOEXEC takes a plain integer, the lowest descriptor to use.
    let lifted = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_DUPFD_CLOEXEC, floor) };
    if lifted < 0 {
        return Err(io_failure("fcntl(F_DUPFD)", &io::Error::last_os_error()));
    }
    // SAFETY: the kernel just made this descriptor, nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(lifted) })
}

/// Raises the soft limit on descriptors as far as needed and allowed, getrlimit(2).
fn ensure_fds(connections: u64) -> Result<(), Failure> {
    let need = 2 * connections + 2 * SPARE_FDS;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit to write to.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 || limit.rlim_cur >= need {
        return Ok(());
    }
    if limit.rlim_max < need {
        return Err(fd_limit(connections, need, limit.rlim_max));
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is a valid rlimit to read.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io_failure("setrlimit(RLIMIT_NOFILE)", &io::Error::last_os_error()));
    }
    Ok(())
}

fn fd_limit(connections: u64, need: u64, hard: u64) -> Failure {
    failure(
        "fd_limit",
        format_args!(
            "{connections} connections need {need} file descriptors, and the hard limit is {hard}: use fewer \
             connections, or raise the limit (`ulimit -Hn {need}` as root, or LimitNOFILE= of the service)"
        ),
    )
}

fn bind_failure(transport: impl Display, port: u16, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::AddrInUse && port != 0 {
        return failure(
            "port_in_use",
            format_args!(
                "{transport} port {port} on 127.0.0.1 is in use by another socket: choose another port, or 0 to \
                 let the kernel choose"
            ),
        );
    }
    io_failure(format_args!("binding {transport} port {port} on 127.0.0.1"), error)
}

#[cfg(test)]
mod tests {
    use super::super::refuse::tests::spec;
    use super::*;

    #[test]
    fn every_transport_carries_bytes_from_sender_to_reader() {
        use std::io::{Read, Write};
        for transport in [Transport::Tcp, Transport::Udp, Transport::Unix, Transport::Pipe] {
            let spec = Spec { transport, connections: 3, active: 3, ..spec() };
            for pair in pairs(&spec).unwrap() {
                let mut bytes = [0; 5];
                std::fs::File::from(pair.sender).write_all(b"hello").unwrap();
                std::fs::File::from(pair.reader).read_exact(&mut bytes).unwrap();
                assert_eq!(&bytes, b"hello", "{transport} {}", pair.name);
            }
        }
    }

    #[test]
    fn a_taken_port_is_named() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let failure = pairs(&Spec { transport: Transport::Tcp, port, ..spec() }).unwrap_err();
        assert_eq!(failure.code, "port_in_use");
        assert!(failure.text.contains(&port.to_string()), "{}", failure.text);
    }

    #[test]
    fn the_descriptor_limit_is_named() {
        let failure = fd_limit(1000, 2128, 1024);
        assert_eq!(failure.code, "fd_limit");
        assert!(failure.text.contains("2128") && failure.text.contains("1024"));
    }
}
