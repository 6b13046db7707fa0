//! What hooks say of io_uring's requests.

use std::ffi::OsStr;

use iotrace::bpf::btf::Btf;
use iotrace::bpf::settings::Wish;
use iotrace::session::recorded::{Recording, record};
use iotrace::session::tape::Items;
use iotrace_core::domain::model::{Meanwhile, Model, Transport};
use iotrace_core::domain::spec::Spec;
use iotrace_ebpf::abi::UringEvent;

use crate::exact_agrees::spec;
use crate::has_hooks;
use crate::program::binary;

#[test]
#[ignore = "needs root"]
fn the_kernel_says_when_it_begins_to_receive() {
    if !has_hooks() {
        return;
    }
    let btf = Btf::of_kernel().expect("this kernel has BTF");
    for transport in [Transport::Tcp, Transport::Pipe] {
        let (model, meanwhile) = (Model::IoUring, Some(Meanwhile::Wait));
        let spec = Spec { model, meanwhile, messages: 20, ..spec(transport, 1024) };
        let program = binary();
        let recording = Recording {
            tier: Wish::Auto,
            program: OsStr::new(&program),
            btf: &btf,
            spec: &spec,
            ring_bytes: 16 << 20,
            without: &[],
        };
        let recorded = record(&recording, |_| {}, &mut Items::dropped());
        let recorded = recorded.unwrap_or_else(|failure| panic!("{spec:?}: {failure}"));
        let mut journal = recorded.expect("nobody interrupts the tests").journal;
        journal.sort();
        let events = |kind: UringEvent| journal.uring.iter().filter(move |one| one.event == kind as u32);
        let completed: Vec<_> = events(UringEvent::Complete).filter(|one| one.res > 0).collect();
        assert!(completed.len() >= 20, "{transport}: {completed:?}");
        for done in completed {
            let before = |kind| events(kind).rfind(|one| one.req == done.req && one.head.at <= done.head.at);
            let mine = |kind| events(kind).filter(|one| one.user_data == done.user_data);
            let last = |kind| mine(kind).map(|one| one.head.at).rfind(|at| *at <= done.head.at);
            let (submitted, issued) = (last(UringEvent::Submit), last(UringEvent::Issue));
            assert!(
                issued.is_some() && issued >= submitted,
                "{transport}: {done:?}: {issued:?} {submitted:?}"
            );
            // Where both name the request, they name the same one.
            assert!(done.req == 0 || before(UringEvent::Issue).is_some(), "{transport}: {done:?}");
        }
    }
}
