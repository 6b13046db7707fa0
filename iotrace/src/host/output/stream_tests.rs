use std::io::{Read, pipe};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::*;

const SHORT: Duration = Duration::from_millis(50);

fn patience(limit: Duration) -> Patience<'static> {
    Patience { limit, cut: &|| false }
}

/// A pipe that has no room, as its reader does not read.
fn full() -> (io::PipeReader, io::PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    let size = fcntl(&writer, FcntlArg::F_GETPIPE_SZ).unwrap();
    writer.write_all(&vec![0; size as usize]).unwrap();
    (reader, writer)
}

#[test]
fn a_reader_who_does_not_read_is_given_up() {
    let (_reader, writer) = full();
    let stream = Stream::start(move || Ok(writer.into())).unwrap();
    stream.push(vec![1; 10]);
    let trouble = stream.settle(&patience(SHORT)).expect_err("nobody reads");
    assert_eq!(trouble.to_string(), "its reader took nothing for 50ms; 0 of 10 bytes were written");
}

#[test]
fn a_signal_ends_the_wait_for_a_reader() {
    let (_reader, writer) = full();
    let stream = Stream::start(move || Ok(writer.into())).unwrap();
    stream.push(vec![1; 10]);
    let trouble = stream.settle(&Patience { limit: Duration::from_secs(3600), cut: &|| true });
    assert!(matches!(trouble, Err(Trouble::Cut { written: 0, all: 10 })), "{trouble:?}");
}

#[test]
fn nobody_who_opens_a_fifo_is_told_apart_from_nobody_who_reads() {
    let stream = Stream::start(|| {
        thread::sleep(Duration::from_secs(3600));
        Err(io::ErrorKind::NotFound.into())
    });
    let stream = stream.unwrap();
    stream.push(vec![1; 10]);
    let trouble = stream.settle(&patience(SHORT)).expect_err("nobody opens it");
    assert!(trouble.to_string().starts_with("nobody opened it"), "{trouble}");
}

/// However long it takes: each piece that is taken is progress.
#[test]
fn a_slow_reader_gets_everything() {
    let (mut reader, writer) = pipe().unwrap();
    // What a pipe may grow to takes the whole; this one may not.
    let size = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap() as usize;
    let bytes: Vec<u8> = (0..LARGE_PIPE + 3 * size).map(|at| at as u8).collect();
    let stream = Stream::start(move || Ok(writer.into())).unwrap();
    stream.push(bytes.clone());
    stream.close();
    let slow = thread::spawn(move || {
        let (mut got, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            thread::sleep(Duration::from_millis(1));
            match reader.read(&mut piece).unwrap() {
                0 => return got,
                some => got.extend_from_slice(&piece[..some]),
            }
        }
    });
    stream.settle(&patience(Duration::from_secs(20))).unwrap();
    assert!(slow.join().unwrap() == bytes);
}

#[test]
fn a_reader_who_went_away_is_known() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let stream = Stream::start(move || Ok(writer.into())).unwrap();
    stream.push(vec![1; 10]);
    assert!(matches!(stream.settle(&patience(Duration::from_secs(20))), Err(Trouble::Gone { written: 0 })));
    assert!(stream.has_failed());
    assert!(matches!(stream.settle(&patience(SHORT)), Err(Trouble::Gone { .. })), "told again");
}

#[test]
fn what_waits_for_a_reader_is_bounded() {
    let (_reader, writer) = full();
    let stream = Stream::start(move || Ok(writer.into())).unwrap();
    let offered = (0..40).filter(|_| stream.offer(vec![0; 1 << 20])).count();
    // One may be with the thread already.
    assert!((16..=17).contains(&offered), "{offered} MiB");
}

#[test]
fn a_job_that_stands_still_is_given_up_and_one_that_goes_on_is_not() {
    let stuck = within(&patience(SHORT), 7, |_| {
        thread::sleep(Duration::from_secs(3600));
        Ok(())
    });
    assert!(matches!(stuck, Err(Trouble::Stuck { written: 0, all: 7, .. })), "{stuck:?}");
    static ENDED: AtomicBool = AtomicBool::new(false);
    let slow = within(&patience(Duration::from_secs(20)), 100, |each| {
        for _ in 0..100 {
            thread::sleep(Duration::from_millis(1));
            each(1);
        }
        ENDED.store(true, Relaxed);
        Ok(())
    });
    assert!(slow.is_ok() && ENDED.load(Relaxed), "{slow:?}");
}
