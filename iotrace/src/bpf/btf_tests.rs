use proptest::collection::vec;
use proptest::prelude::*;
use proptest::{option, sample::Index};

use super::*;
use crate::host::fixed;

/// Writes BTF the way `pahole` does, as far as the tests need it.
#[derive(Default)]
struct Writer {
    types: Vec<u32>,
    strings: Vec<u8>,
    next: u32,
}

impl Writer {
    fn name(&mut self, name: &str) -> u32 {
        if self.strings.is_empty() {
            self.strings.push(0);
        }
        if name.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32;
        self.strings.extend(name.bytes().chain([0]));
        at
    }

    fn add(&mut self, name: &str, kind: u32, count: u32, size: u32, tail: &[u32]) -> u32 {
        let name = self.name(name);
        self.types.extend([name, kind << 24 | count, size]);
        self.types.extend(tail);
        self.next += 1;
        self.next
    }

    fn finish(self) -> Vec<u8> {
        let len = self.types.len() as u32 * 4;
        let mut out = 0xeb9f_u16.to_ne_bytes().to_vec();
        out.extend([1, 0]);
        for word in [24, 0, len, len, self.strings.len() as u32].into_iter().chain(self.types) {
            out.extend(word.to_ne_bytes());
        }
        out.extend(self.strings);
        out
    }
}

/// `struct io_kiocb { int flags; struct cqe { long user_data } cqe; union { int a; int inner; } }`
/// and a tracepoint `(bool, struct *, unsigned long)`.
fn sample() -> Btf {
    Btf::parse(sample_blob()).unwrap()
}

fn sample_blob() -> Vec<u8> {
    let mut w = Writer::default();
    let int = w.add("int", INT, 0, 4, &[0]);
    let long = w.add("long", INT, 0, 8, &[0]);
    let flag = w.add("bool", INT, 0, 1, &[0]);
    let (user_data, a, inner, flags, cqe) =
        (w.name("user_data"), w.name("a"), w.name("inner"), w.name("flags"), w.name("cqe"));
    let nested = w.add("io_cqe", STRUCT, 1, 8, &[user_data, long, 0]);
    let union = w.add("", UNION, 2, 4, &[a, int, 0, inner, int, 0]);
    let constant = w.add("", CONST, 0, nested, &[]);
    let kiocb = w.add("io_kiocb", STRUCT, 3, 24, &[flags, int, 0, cqe, constant, 64, 0, union, 128]);
    let pointer = w.add("", PTR, 0, kiocb, &[]);
    let void_pointer = w.add("", PTR, 0, 0, &[]);
    let alias = w.add("u64_alias", TYPEDEF, 0, long, &[]);
    let proto = w.add("", FUNC_PROTO, 4, 0, &[0, void_pointer, 0, flag, 0, pointer, 0, alias]);
    let function = w.add("", PTR, 0, proto, &[]);
    w.add("btf_trace_example", TYPEDEF, 0, function, &[]);
    w.finish()
}

#[test]
fn fields_are_found_through_nested_and_anonymous_structures() {
    let btf = sample();
    assert_eq!(btf.offset_of("io_kiocb", "flags"), Some(0));
    assert_eq!(btf.offset_of("io_kiocb", "cqe.user_data"), Some(8));
    assert_eq!(btf.offset_of("io_kiocb", "inner"), Some(16));
    assert_eq!(btf.offset_of("io_kiocb", "user_data"), None, "only under its own name");
    assert_eq!(btf.offset_of("task_struct", "state"), None);
}

#[test]
fn a_tracepoint_tells_its_arguments() {
    let btf = sample();
    assert_eq!(btf.tracepoint("example"), Some(vec![Arg::Number(1), Arg::Pointer, Arg::Number(8)]));
    assert_eq!(btf.tracepoint("absent"), None);
}

#[test]
fn damaged_blobs_are_refused_without_a_panic() {
    assert!(Btf::parse(Vec::new()).is_err());
    assert!(Btf::parse(vec![0; 64]).is_err());
    let mut w = Writer::default();
    w.add("int", INT, 0, 4, &[0]);
    let whole = w.finish();
    for length in 0..whole.len() - 5 {
        assert!(Btf::parse(whole[..length].to_vec()).is_err(), "{length} of {} bytes", whole.len());
    }
    let mut unknown = Writer::default();
    unknown.add("x", 25, 0, 0, &[]);
    assert!(Btf::parse(unknown.finish()).is_err());
}

#[test]
fn this_kernel_is_read() {
    // Where there is no BTF, iotrace does not run at all; the doctor says so.
    let Ok(btf) = Btf::of_kernel() else { return };
    assert_eq!(btf.offset_of("pt_regs", "di"), Some(112), "user ABI on x86-64");
    assert_eq!(btf.tracepoint("sys_enter"), Some(vec![Arg::Pointer, Arg::Number(8)]));
    assert!(btf.offset_of("task_struct", "pid").is_some());
}

/// A structure without a name in itself, as a damaged or crafted blob may have it.
#[test]
fn structures_within_themselves_are_not_followed_for_ever() {
    let mut w = Writer::default();
    let name = w.name("wanted");
    w.add("outer", STRUCT, 2, 8, &[0, 1, 0, 0, 1, 0]);
    let btf = Btf::parse(w.finish()).unwrap();
    assert_ne!(name, 0);
    assert_eq!(btf.offset_of("outer", "wanted"), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..fixed() })]

    #[test]
    fn a_damaged_blob_is_refused_where_it_is_wrong_or_read_without_a_panic(
        changes in vec((any::<Index>(), any::<u8>()), 1..6),
        cut in option::weighted(0.3, any::<Index>()),
    ) {
        let mut blob = sample_blob();
        for (place, byte) in changes {
            let at = place.index(blob.len());
            blob[at] = byte;
        }
        if let Some(cut) = cut {
            blob.truncate(cut.index(blob.len()));
        }
        let length = blob.len();
        match Btf::parse(blob) {
            Err(BtfError::Format { at, .. }) => prop_assert!(at <= length + (1 << 33), "{at}"),
            Err(error) => prop_assert!(false, "{error}"),
            Ok(btf) => {
                prop_assert!(btf.types.len() <= length / 12 + 1);
                for path in ["flags", "cqe.user_data", "inner", "a.b.c"] {
                    let _ = btf.offset_of("io_kiocb", path);
                }
                let _ = (btf.tracepoint("example"), btf.function("example"), btf.per_cpu("example"));
            }
        }
    }
}
