//! Golden outputs, and what must hold for any data. `UPDATE_EXPECT=1 cargo test` rewrites the files.

use std::path::Path;

use clap::ValueEnum;
use expect_test::expect_file;

use crate::domain::CopySource;
use crate::report::page::columns;
use crate::report::*;
use crate::summary::Document;

fn text(format: Format, document: &Document, options: Options) -> String {
    let mut out = Vec::new();
    render(format, document, &options, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn golden(name: &str, got: &str) {
    expect_file![Path::new("golden").join(name)].assert_eq(got);
}

#[test]
fn golden_tables() {
    let plain = Options::default();
    golden("blocking.txt", &text(Format::Table, &sample::document(vec![sample::blocking()]), plain));
    golden("sigio.txt", &text(Format::Table, &sample::document(vec![sample::sigio()]), plain));
    golden("posix-aio.txt", &text(Format::Table, &sample::document(vec![sample::posix_aio()]), plain));
    golden("sqpoll-lossy.txt", &text(Format::Table, &sample::lossy(vec![sample::sqpoll()]), plain));
    golden("several.txt", &text(Format::Table, &sample::document(sample::all()), plain));
    golden("selftest.txt", &text(Format::Table, &sample::selftest(), plain));
    let us = Options { unit: Unit::Us, ..plain };
    golden("select-us.txt", &text(Format::Table, &sample::document(vec![sample::select()]), us));
    let color = Options { color: true, ..plain };
    golden("blocking-color.txt", &text(Format::Table, &sample::document(vec![sample::blocking()]), color));
}

#[test]
fn golden_timeline_and_json() {
    let plain = Options::default();
    golden("timeline.txt", &text(Format::Timeline, &sample::document(sample::all()), plain));
    let narrow = Options { width: 80, unit: Unit::Ns, ..plain };
    golden("timeline-80.txt", &text(Format::Timeline, &sample::document(vec![sample::sigio()]), narrow));
    golden("sqpoll.json", &text(Format::Json, &sample::lossy(vec![sample::sqpoll()]), plain));
}

#[test]
fn a_bar_that_was_not_measured_is_none() {
    let picture = |median: Option<f64>| {
        let mut document = sample::study();
        let arms = &mut document.studies[0].arms;
        arms.iter_mut().filter(|arm| arm.name == "edge").for_each(|arm| arm.median = median);
        let mut picture = Vec::new();
        svg(&document, &mut picture).unwrap();
        String::from_utf8(picture).unwrap()
    };
    let bars = |picture: &str| picture.matches("height=\"13\"").count();
    let (zero, none) = (picture(Some(0.0)), picture(None));
    assert!(none.contains(">edge<") && none.contains(">-<") && !zero.contains(">-<"));
    assert_eq!(bars(&zero), bars(&none) + 1);
}

#[test]
fn golden_study() {
    golden("study.txt", &text(Format::Table, &sample::study(), Options::default()));
    let mut picture = Vec::new();
    svg(&sample::study(), &mut picture).unwrap();
    let picture = String::from_utf8(picture).unwrap();
    golden("study.svg", &picture);
    // Nothing from elsewhere, and no text that is taken for markup.
    assert!(
        !picture.contains("href") && !picture.contains("url(") && picture.contains("level &lt;&amp;&gt;")
    );
}

#[test]
fn the_samples_keep_the_sum_rule() {
    for call in sample::all().iter().flat_map(|run| &run.calls) {
        assert_eq!(
            call.wait_ns + call.disk_ns + call.lock_ns + call.runq_ns + call.copy_ns + call.work_ns,
            call.total_ns
        );
    }
}

#[test]
fn no_line_is_wider_than_the_page() {
    let mut nothing = sample::sigio();
    (nothing.messages, nothing.interval_ns, nothing.operations.count) = (0, 0, 0);
    nothing.operations.phase1 = crate::domain::Phase1::default();
    nothing.strip = None;
    let empty = [sample::document(Vec::new()), sample::document(vec![nothing])];
    for document in [sample::extreme(), sample::document(sample::all())].into_iter().chain(empty) {
        for format in [Format::Table, Format::Timeline] {
            for &unit in Unit::value_variants() {
                for width in [0, 60, 80, 100, 1000] {
                    let text = text(format, &document, Options { unit, width, color: false, summary: false });
                    let widest = text.lines().max_by_key(|line| columns(line)).unwrap_or_default();
                    assert!(columns(widest) <= MAX_WIDTH, "{format:?} {unit:?} {width}: {widest}");
                }
            }
        }
    }
}

/// Times from several sources meet in a strip; a wrong one may spoil the picture, not the report.
#[test]
fn a_strip_out_of_order_is_drawn_all_the_same() {
    let mut run = sample::blocking();
    let strip = run.strip.as_mut().unwrap();
    strip.marks.reverse();
    strip.marks[0].at_ns = u64::MAX;
    for segment in &mut strip.lanes[0].segments {
        std::mem::swap(&mut segment.from_ns, &mut segment.to_ns);
    }
    strip.end_ns /= 2;
    let text = text(Format::Timeline, &sample::document(vec![run]), Options::default());
    assert!(text.contains("app 4711"));
}

#[test]
fn ordinary_results_are_never_clipped() {
    for unit in Unit::value_variants() {
        let options = Options { unit: *unit, ..Options::default() };
        let text = text(Format::Table, &sample::document(sample::all()), options);
        let clipped = text.lines().find(|line| line.contains('…'));
        assert_eq!(clipped, None, "{unit:?}");
    }
}

#[test]
fn what_was_not_measured_is_a_dash_and_never_zero() {
    let mut run = sample::blocking();
    run.operations.phase2 =
        crate::summary::Phase2 { blocked_ns: None, free_ns: None, source: CopySource::None, upper_ns: None };
    run.operations.pickup = None;
    run.operations.latency = None;
    run.calls[0].copy_source = CopySource::None;
    (run.calls[0].copy_ns, run.calls[0].phase2) = (0, None);
    (run.calls[0].copy_upper_ns, run.calls[0].copy_floor_ns) = (None, None);
    let text = text(Format::Table, &sample::lossy(vec![run.clone(), run]), Options::default());
    let line =
        |start: &str| text.lines().find(|line| line.trim_start().starts_with(start)).unwrap().to_owned();
    assert!(line("2 copy").contains("-") && line("2 copy").contains("not timed"));
    assert!(!line("2 copy").contains('0'), "{}", line("2 copy"));
    let cells = |line: String| {
        line.split("  ").filter(|c| !c.is_empty()).map(|c| c.trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(cells(line("recvfrom"))[8], "-");
    assert_eq!(cells(line("pickup: data"))[1..], ["-", "-", "-", "-"]);
    assert_eq!(cells(line("latency: data"))[1..], ["-", "-", "-", "-"]);
    let strip = text.lines().find(|line| line.contains('│') && line.contains("blocking ")).unwrap();
    let numbers: Vec<_> = strip.split('│').nth(1).unwrap().split_whitespace().collect();
    assert_eq!(numbers[2..5], ["-", "-", "-"], "pickup, copy, latency: {strip}");
    assert!(text.contains("what observing added: not measured; CPU of iotrace itself: not measured"));
    assert!(text.contains("skipped probe runs: not measured"));
}

#[test]
fn without_colour_there_is_no_escape() {
    for format in [Format::Table, Format::Timeline, Format::Json] {
        let plain = text(format, &sample::lossy(sample::all()), Options::default());
        assert!(!plain.contains('\x1b'));
        let colored =
            text(format, &sample::lossy(sample::all()), Options { color: true, ..Options::default() });
        assert_eq!(colored.contains('\x1b'), format != Format::Json);
    }
}

#[test]
fn golden_pictures() {
    golden("pictures.txt", &text(Format::Table, &sample::pictured(), Options::default()));
    let mut picture = Vec::new();
    svg(&sample::pictured(), &mut picture).unwrap();
    let picture = String::from_utf8(picture).unwrap();
    golden("pictures.svg", &picture);
}

#[test]
fn json_comes_back_as_it_went() {
    for document in [sample::document(sample::all()), sample::lossy(sample::all()), sample::extreme()] {
        let pretty = text(Format::Json, &document, Options::default());
        assert!(pretty.ends_with("}\n"));
        assert_eq!(serde_json::from_str::<Document>(&pretty).unwrap(), document);
        let mut out = Vec::new();
        line(&document, &mut out).unwrap();
        let compact = String::from_utf8(out).unwrap();
        assert_eq!(compact.matches('\n').count(), 1);
        assert_eq!(serde_json::from_str::<Document>(&compact).unwrap(), document);
    }
}

/// The names other programs rely on, a JSON pointer each.
#[test]
fn json_has_the_fields_of_the_interface() {
    let json =
        text(Format::Json, &sample::lossy(vec![sample::sqpoll(), sample::sigio()]), Options::default());
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let has = |at: &str, names: &str| {
        let object = json.pointer(at).unwrap_or_else(|| panic!("{at} is missing"));
        for name in names.split_whitespace() {
            assert!(object.get(name).is_some(), "{at}/{name} is missing");
        }
    };
    has("", "schema command host complete loss overhead elapsed_ns runs warnings");
    has("/host", "kernel arch cpus lockdown tier");
    has("/loss", "records map_full recursion_misses unmatched in_flight_start in_flight_stop");
    has("/overhead", "per_call_ns per_other_call_ns per_switch_ns iotrace_cpu_ns copy_floors_ns");
    has("/warnings/0", "code text");
    has(
        "/runs/0",
        "model transport messages size interval_ns connections elapsed_ns meanwhile own_work_units",
    );
    has("/runs/0", "app_threads calls operations verdict");
    has("/runs/0/verdict", "phase1 phase2 synchronous");
    has(
        "/runs/1/calls/0",
        "syscall role thread_role fd calls bytes errors timeouts restarts total_ns wait_ns",
    );
    has("/runs/1/calls/0", "lock_ns runq_ns copy_ns work_ns copy_source phase1 phase2 latency");
    has("/runs/0/operations", "count phase1 phase2 pickup latency calls_per_message cpu_ns_per_message");
    has("/runs/0/operations", "signals requests");
    has("/runs/0/operations/phase1", "blocked_ns polling_ns free_ns");
    has("/runs/0/operations/phase2", "blocked_ns free_ns");
    has("/runs/0/operations/latency", "count sum_ns min_ns p50_ns p90_ns p99_ns max_ns error buckets");
    assert!(json.pointer("/overhead/per_call_ns").unwrap().is_null());
    assert!(json.pointer("/runs/0/operations/phase2/free_ns").unwrap().is_null());
    assert_eq!(json["runs"][0]["model"], "io-uring-sqpoll");
    assert_eq!(json["host"]["tier"], "tracepoint");
    let checks = text(Format::Json, &sample::selftest(), Options::default());
    let checks: serde_json::Value = serde_json::from_str(&checks).unwrap();
    for name in
        "name oracle expected measured error allowed unit pass skipped since attempts".split_whitespace()
    {
        assert!(checks.pointer("/checks/3").unwrap().get(name).is_some(), "{name} is missing");
    }
    assert!(checks.pointer("/checks/3/measured").unwrap().is_null(), "a skip is no zero");
}

#[test]
fn the_schema_describes_what_is_written() {
    let schema = schema();
    let json = text(Format::Json, &sample::lossy(sample::all()), Options::default());
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    for name in json.as_object().unwrap().keys() {
        assert!(schema["properties"].get(name).is_some(), "{name} is not in the schema");
    }
    assert_eq!(schema["$id"], crate::summary::SCHEMA);
    assert!(schema["$defs"]["Run"]["properties"].get("verdict").is_some());
    assert!(schema["$defs"]["Check"]["properties"].get("allowed").is_some());
}
