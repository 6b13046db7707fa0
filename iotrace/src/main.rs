//! The command line.
use iotrace::bpf::{btf::Btf, loader::*, probes::Group};
fn main() {
    let t = std::time::Instant::now();
    let btf = Btf::of_kernel().unwrap();
    eprintln!("btf {:?}", t.elapsed());
    let s = Settings {
        target: std::process::id(),
        groups: vec![Group::Core, Group::Sockets, Group::Copy, Group::CopyUnix, Group::Signals, Group::Uring],
        signals: 1 << 28,
        futex: false,
        ring_bytes: 16 << 20,
        without: vec![],
    };
    let mut o = Observer::attach(&btf, &s).unwrap_or_else(|e| panic!("{e}"));
    eprintln!("attached {:?} {:?}", t.elapsed(), o.attached().collect::<Vec<_>>());
    for m in o.missing() {
        eprintln!("missing {} {}", m.probe.name, m.why);
    }
    let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
    use std::io::{Read, Write};
    let h = std::thread::spawn(move || {
        let mut a = a;
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            a.write_all(&[1; 100]).unwrap();
        }
    });
    let mut b = b;
    let mut buf = [0; 100];
    for _ in 0..3 {
        b.read_exact(&mut buf).unwrap();
    }
    h.join().unwrap();
    o.drain(|r| eprintln!("{:?}", iotrace::record::Record::parse(r)));
    eprintln!("{:?}", o.recursion_misses());
}
