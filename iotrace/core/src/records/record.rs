//! The records of the ring buffer, decoded.

use iotrace_ebpf::abi::{
    CallRecord, CopyRecord, FileRecord, Head, Kind, PollRecord, ReadyRecord, RecvRecord, SignalRecord,
    TaskRecord, UringRecord,
};
use zerocopy::FromBytes;

/// One record of the ring buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// A finished call.
    Call(CallRecord),
    /// A copy outside a data call.
    Copy(CopyRecord),
    /// A copy of the exact tier beside a marked one.
    Exact(CopyRecord),
    /// Data became ready on a socket.
    Ready(ReadyRecord),
    /// A signal was generated or delivered.
    Signal(SignalRecord),
    /// An event of an io_uring request.
    Uring(UringRecord),
    /// A thread was seen for the first time.
    Task(TaskRecord),
    /// The name of a thread, which need not have made a traced call.
    Name(TaskRecord),
    /// A receive outside a data call ended.
    Recv(RecvRecord),
    /// A file was seen for the first time behind a descriptor.
    File(FileRecord),
}

impl Record {
    /// Decodes one ring buffer item. `None`: too short or of no known kind (the object and this
    /// program are built together, so that is a bug, and the caller counts it).
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let head: Head = read(bytes)?;
        Some(match Kind::try_from(head.kind).ok()? {
            Kind::Call => Record::Call(read(bytes)?),
            Kind::Copy => Record::Copy(read(bytes)?),
            Kind::Exact => Record::Exact(read(bytes)?),
            Kind::Ready => Record::Ready(read(bytes)?),
            Kind::Signal => Record::Signal(read(bytes)?),
            Kind::Uring => Record::Uring(read(bytes)?),
            Kind::Task => Record::Task(read(bytes)?),
            Kind::Name => Record::Name(read(bytes)?),
            Kind::Recv => Record::Recv(read(bytes)?),
            Kind::File => Record::File(read(bytes)?),
            // The short form of a call.
            Kind::Poll => Record::Call(read::<PollRecord>(bytes)?.call()),
        })
    }

    /// The record's beginning.
    pub fn head(&self) -> &Head {
        match self {
            Record::Call(record) => &record.head,
            Record::Copy(record) | Record::Exact(record) => &record.head,
            Record::Ready(record) => &record.head,
            Record::Signal(record) => &record.head,
            Record::Uring(record) => &record.head,
            Record::Task(record) | Record::Name(record) => &record.head,
            Record::Recv(record) => &record.head,
            Record::File(record) => &record.head,
        }
    }
}

/// The record at the beginning of `bytes`; the compiler has checked that any bytes are a valid `T`.
fn read<T: FromBytes>(bytes: &[u8]) -> Option<T> {
    T::read_from_prefix(bytes).ok().map(|(record, _)| record)
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::*;

    #[test]
    fn a_record_comes_back_as_it_went() {
        let head = Head { kind: Kind::Call as u32, tid: 7, tgid: 6, reserved: 0, at: 99 };
        let call = CallRecord { head, enter: 90, ret: -11, nr: 45, fd: 3, ..CallRecord::default() };
        assert_eq!(Record::parse(call.as_bytes()), Some(Record::Call(call)));
    }

    #[test]
    fn garbage_is_refused() {
        assert_eq!(Record::parse(&[]), None);
        let head = Head { kind: 77, ..Head::default() };
        assert_eq!(Record::parse(head.as_bytes()), None);
        let head = Head { kind: Kind::Call as u32, ..Head::default() };
        assert_eq!(Record::parse(head.as_bytes()), None, "a call is longer than its head");
    }
}
