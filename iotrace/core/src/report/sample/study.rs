//! Samples of studies, with every part that a renderer shows.

use std::collections::BTreeMap;

use super::document;
use crate::samples::sheet::Sheet;
use crate::summary::*;

/// A study with two arms that cross, bars, and a verdict of each kind.
pub fn study() -> Document {
    let mut sheet = Sheet::default();
    sheet.order(&["poll", "epoll"]);
    let axis = Axis { label: "connections".to_owned(), per: "fd".to_owned(), log: true };
    sheet.measure("idle", "one call, nothing ready", "ns", Source::Clock, Some(axis));
    sheet.measure("returns", "returns of epoll_wait for one arrival", "returns", Source::Count, None);
    for round in 0..9 {
        sheet.begin(round);
        let noise = [0.0, 3.0, -2.0, 8.0, 1.0, -4.0, 5.0, 2.0, 90.0][round];
        for x in [1.0, 10.0, 100.0, 1000.0] {
            sheet.add("idle", "poll", Some(x), 180.0 + 28.4 * x + noise);
            sheet.add("idle", "epoll", Some(x), 412.0 + noise);
        }
        sheet.add("returns", "level <&> \"unread\"", None, 6.0);
        sheet.add("returns", "edge", None, 1.0);
    }
    let fits = ["poll", "epoll"].iter().filter_map(|arm| sheet.fit("idle", arm, 1000.0)).collect();
    let study = Study {
        name: "sample".to_owned(),
        question: "What does a sample look like?".to_owned(),
        environment: Environment {
            repeats: 9,
            warmup: 1,
            quick: true,
            clocksource: Some("tsc".to_owned()),
            load: Some(0.42),
            cpu: None,
            descriptors: 1024,
        },
        measures: sheet.measures(),
        arms: sheet.arms(),
        fits,
        crossovers: vec![sheet.crossover("idle", "poll", "epoll"), sheet.crossover("idle", "epoll", "poll")],
        claims: [Ruling::Holds, Ruling::Conditional, Ruling::Fails, Ruling::NotMeasured].map(claim).to_vec(),
        findings: vec!["An idle descriptor costs poll 28.4 ns.".to_owned()],
        tables: Vec::new(),
        pictures: Vec::new(),
    };
    Document { command: "study".to_owned(), studies: vec![study], ..document(Vec::new()) }
}

/// A study with a table of measures, and pictures of median messages, one of which lasts far longer than the others.
pub fn pictured() -> Document {
    let mut document = study();
    let study = &mut document.studies[0];
    study.claims.clear();
    study.measures.retain(|measure| measure.name == "returns");
    let title = "what it took".to_owned();
    study.tables = vec![Table { title, measures: vec!["returns".to_owned()] }];
    let groups = ["blocking I/O", "nonblocking I/O", "asynchronous I/O", "asynchronous I/O"];
    let runs = [super::blocking(), super::nonblocking(), super::posix_aio(), super::sqpoll()];
    study.pictures = runs
        .into_iter()
        .zip(groups)
        .filter_map(|(run, group)| {
            Some(Picture {
                arm: run.model.name().to_owned(),
                group: group.to_owned(),
                caption: "blocked / blocked".to_owned(),
                strip: run.strip?,
            })
        })
        .collect();
    document
}

fn claim(verdict: Ruling) -> Claim {
    let value = (verdict != Ruling::NotMeasured).then_some(3.0);
    let evidence = Evidence { value, ci95: None, unit: "sleeps".to_owned(), source: Source::Ebpf };
    Claim {
        id: format!("{verdict:?}"),
        claim: "The kernel wakes a blocked reader exactly once per message".to_owned(),
        experiment: "A message is sent, and sleeps are counted".to_owned(),
        verdict,
        rule: "holds if there is one".to_owned(),
        because: "It was so.".to_owned(),
        evidence: BTreeMap::from([("sleeps for a message".to_owned(), evidence)]),
    }
}
