//! Names of any bytes, and what crosses the boundary to a workload: property tests with the same inputs every time.

use iotrace_core::domain::model::{Model, Transport};
use iotrace_core::domain::name;
use iotrace_core::domain::spec::{Connection, Log, Message, Report, Spec, Tuning};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;

fn fixed(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(12), failure_persistence: None, ..Default::default() }
}

fn spec(messages: u64, connections: u32) -> Spec {
    Spec {
        model: Model::Epoll,
        transport: Transport::Tcp,
        messages,
        size: 1,
        interval_ns: 0,
        connections,
        active: 1,
        poll_interval_ns: 0,
        warmup: 1,
        calibration: 2,
        meanwhile: None,
        port: 0,
        tuning: Tuning::default(),
    }
}

/// The longest report that a workload writes.
fn report(spec: &Spec) -> Vec<u8> {
    let most = u64::MAX;
    let message = Message {
        connection: u32::MAX,
        sent_ns: most,
        sent_done_ns: most,
        want_ns: most,
        have_ns: most,
        bytes: most,
    };
    let connection = Connection {
        fd: i32::MIN,
        name: "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535".to_owned(),
        thread: u32::MAX,
    };
    let log = Log {
        messages: vec![message; spec.total_messages() as usize],
        connections: vec![connection; spec.connections as usize],
        app_threads: vec![u32::MAX; spec.connections as usize],
        ..Log::default()
    };
    serde_json::to_vec(&Report::Done(Box::new(log))).expect("it is plain data")
}

#[test]
fn the_longest_report_is_within_its_limit_and_the_limit_is_near_it() {
    for (messages, connections) in [(10, 1), (20_000, 1), (100, 5_000)] {
        let spec = spec(messages, connections);
        let (length, limit) = (report(&spec).len(), spec.report_bytes());
        assert!(length <= limit && limit <= 3 * length + (1 << 20), "{length} {limit}");
    }
    assert!(spec(u64::MAX - 3, u32::MAX).report_bytes() > 0, "no overflow");
}

proptest! {
    #![proptest_config(fixed(2_000))]

    #[test]
    fn a_name_comes_back_from_its_text(bytes in vec(prop_oneof![any::<u8>(), Just(b'\\'), Just(b'x'), b'0'..=b'f'], 0..40)) {
        prop_assert_eq!(&name::bytes(&name::of(&bytes)), &bytes);
    }

    #[test]
    fn what_is_shown_is_harmless_and_stays_as_it_is(text in "\\PC{0,20}|.{0,20}|[\u{200b}-\u{206f}\u{0}-\u{9f}\u{300}-\u{310}]{0,20}") {
        let shown = name::harmless(&text).into_owned();
        prop_assert!(shown.chars().all(name::is_harmless));
        prop_assert_eq!(shown.chars().count(), text.chars().count());
        prop_assert_eq!(name::harmless(&shown).into_owned(), shown);
    }

    #[test]
    fn a_damaged_report_or_specification_is_an_error_with_its_place(
        changes in vec((any::<Index>(), any::<u8>()), 1..5),
        cut in any::<Index>(),
        whole in any::<bool>(),
    ) {
        let spec = spec(3, 2);
        for text in [report(&spec), serde_json::to_vec(&spec).unwrap()] {
            let mut text = text;
            for (place, byte) in &changes {
                let at = place.index(text.len());
                text[at] = *byte;
            }
            if !whole {
                text.truncate(cut.index(text.len()));
            }
            if let Err(error) = serde_json::from_slice::<Report>(&text) {
                prop_assert!(error.to_string().contains(" at line "), "{error}");
            }
            let _ = serde_json::from_slice::<Spec>(&text);
        }
    }
}
