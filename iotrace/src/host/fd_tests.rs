use super::*;

fn addresses(local: &[u8], remote: &[u8]) -> [u8; 32] {
    let mut both = [0; 32];
    both[..local.len()].copy_from_slice(local);
    both[16..16 + remote.len()].copy_from_slice(remote);
    both
}

#[test]
fn an_accepted_connection_waits_for_requests_and_one_that_was_made_for_replies() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut namer = Namer::new();
    let mut waits_for = |file: FileRecord| namer.names(&[file])[0].waits_for;
    let file = |local_port, remote_port: u16| FileRecord {
        mode: file_type::SOCKET,
        family: family::INET,
        protocol: protocol::TCP,
        local_port,
        remote_port: remote_port.to_be(),
        ..FileRecord::default()
    };
    assert_eq!(waits_for(file(port, 40_000)), Some(WaitsFor::NextRequest));
    // No ephemeral port, and none that anything here listens on.
    assert_eq!(waits_for(file(1, port)), Some(WaitsFor::Reply));
    assert_eq!(waits_for(file(port, 0)), None, "the listening socket itself is no connection");
    let mut elsewhere = file(port, 40_000);
    elsewhere.head.reserved = u32::MAX;
    assert_eq!(waits_for(elsewhere), None, "nobody is in that network namespace");
}

#[test]
fn a_socket_is_named_by_its_addresses() {
    let file = FileRecord {
        mode: file_type::SOCKET,
        family: family::INET,
        protocol: protocol::TCP,
        local_port: 80,
        remote_port: 40_000u16.to_be(),
        name: addresses(&[127, 0, 0, 1], &[10, 0, 0, 7]),
        ..FileRecord::default()
    };
    let describe = |file: &FileRecord| Namer::new().names(&[*file])[0].fd.clone();
    let fd = describe(&file);
    assert_eq!((fd.kind.as_str(), fd.name.as_str()), ("tcp", "127.0.0.1:80 <-> 10.0.0.7:40000"));
    let v6 = |local: &str, remote: &str, remote_port: u16| {
        let octets = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
        let (name, family) = (addresses(&octets(local), &octets(remote)), family::INET6);
        describe(&FileRecord { name, family, remote_port: remote_port.to_be(), ..file }).name
    };
    assert_eq!(v6("fe80::1", "2001:db8::7", 443), "[fe80::1]:80 <-> [2001:db8::7]:443");
    assert_eq!(v6("::ffff:127.0.0.1", "::ffff:10.0.0.7", 443), "127.0.0.1:80 <-> 10.0.0.7:443");
    assert_eq!(v6("::", "::", 0), "[::]:80");
}

#[test]
fn a_reused_descriptor_lends_its_name_to_nobody() {
    let file = FileRecord { mode: file_type::FIFO, inode: 1, fd: -1, ..FileRecord::default() };
    assert_eq!(Namer::new().names(&[file])[0].fd.name, "pipe:[1]");
}

#[test]
fn what_shares_a_row_says_so() {
    let named = |file: FileRecord| {
        let named = Namer::new().names(&[file]).remove(0);
        (named.fd.name, named.group, named.waits_for)
    };
    let folded = FileRecord {
        file: FOLDED,
        fd: -1,
        mode: file_type::SOCKET,
        family: family::INET,
        protocol: protocol::TCP,
        ..FileRecord::default()
    };
    let server = FileRecord { local_port: 80, name: addresses(&[127, 0, 0, 1], &[]), ..folded };
    assert_eq!(named(server), ("127.0.0.1:80 <-> *".to_owned(), None, Some(WaitsFor::NextRequest)));
    let client = FileRecord { remote_port: 5432u16.to_be(), name: addresses(&[], &[10, 0, 0, 7]), ..folded };
    let group = Some("* <-> 10.0.0.7:5432".to_owned());
    assert_eq!(named(client), ("* <-> 10.0.0.7:5432".to_owned(), group, Some(WaitsFor::Reply)));
    let mut parent = [0; 24];
    parent[..6].copy_from_slice(b"images");
    let file = FileRecord { file: FOLDED, fd: -1, mode: file_type::REGULAR, parent, ..FileRecord::default() };
    assert_eq!(named(file), (".../images/*".to_owned(), Some(".../images/*".to_owned()), None));
}

#[test]
fn files_ask_nothing_of_sockets_and_many_connections_ask_once() {
    let mut namer = Namer::new();
    let file = FileRecord { mode: file_type::REGULAR, fd: -1, ..FileRecord::default() };
    namer.names(&vec![file; 100]);
    assert_eq!(namer.networks().looks(), 0);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let connection = FileRecord {
        mode: file_type::SOCKET,
        family: family::INET,
        protocol: protocol::TCP,
        local_port: listener.local_addr().unwrap().port(),
        remote_port: 40_000u16.to_be(),
        ..file
    };
    namer.names(&vec![connection; 100]);
    assert_eq!(namer.networks().looks(), 1);
    namer.names(&vec![connection; 100]);
    assert_eq!(namer.networks().looks(), 1, "more of a port that is known to be listened on");
    namer.names(&vec![FileRecord { local_port: 1, ..connection }; 100]);
    assert_eq!(namer.networks().looks(), 2, "one that nothing explains");
}

#[test]
fn a_file_in_brackets_is_a_file() {
    let named = |mut file: FileRecord, name: &[u8], parent: &[u8]| {
        file.name[..name.len()].copy_from_slice(name);
        file.parent[..parent.len()].copy_from_slice(parent);
        Namer::new().names(&[file]).remove(0).fd
    };
    // It is closed by now: no link tells its path.
    let file = FileRecord { file: SHARED, fd: -1, mode: file_type::REGULAR, ..FileRecord::default() };
    let forged = named(file, b"[eventpoll]", b"[eventpoll]");
    assert_eq!((forged.kind.as_str(), forged.name.as_str()), ("file", ".../[eventpoll]/[eventpoll]"));
    // From 6.16 the inode of an eventfd has the type of a regular file.
    let real = FileRecord { file: 1, fd: 7, ..file };
    assert_eq!(named(real, b"[eventfd]", b"[eventfd]").kind, "eventfd");
    assert_eq!(named(FileRecord { mode: 0, ..real }, b"[eventpoll]", b"").kind, "epoll");
}

#[test]
fn a_path_of_any_bytes_is_a_path() {
    use std::ffi::OsString;
    use std::os::fd::AsRawFd;
    use std::os::unix::ffi::OsStringExt;
    let name = b"a\xff\n[x] \xe2\x80\xae".to_vec();
    let path = std::env::temp_dir().join(OsString::from_vec(name.clone()));
    let open = fs::File::create(&path).unwrap();
    let mut file =
        FileRecord { file: SHARED, fd: open.as_raw_fd(), mode: file_type::REGULAR, ..FileRecord::default() };
    file.head.tgid = std::process::id();
    file.inode = open.metadata().unwrap().ino();
    file.name[..name.len()].copy_from_slice(&name);
    let shown = Namer::new().names(&[file]).remove(0).fd.name;
    fs::remove_file(&path).unwrap();
    assert!(shown.ends_with("/a\\xff\n[x] \u{202e}") && shown.starts_with('/'), "{shown}");
}
