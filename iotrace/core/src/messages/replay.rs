//! The results of a tape: those that the observation gave when it was live.

use crate::messages::outcome::Outcome;
use crate::records::journal::Journal;
use crate::records::record::Record;
use crate::rows::ledger::Ledger;
use crate::rows::tape::{Block, Tape};
use crate::summary::{Document, Host};

/// The results, in order: of a trace one for each interval and the whole, of a run one.
pub fn documents(tape: &Tape) -> Vec<Document> {
    let mut documents = Vec::new();
    let mut ledger: Option<Ledger> = None;
    let mut run: Option<(Host, Outcome)> = None;
    let mut journal = Journal::default();
    for block in &tape.blocks {
        match block {
            Block::Trace(opening) => ledger = Some(Ledger::new(opening.clone())),
            Block::Batch(batch) => {
                documents.extend(ledger.as_mut().and_then(|ledger| ledger.take((**batch).clone())));
            }
            Block::Run(host) => run = Some((host.clone(), Outcome::default())),
            Block::Items(items) => items.iter().for_each(|item| match Record::parse(item) {
                Some(record) => journal.add(record),
                None => journal.unknown += 1,
            }),
            Block::Workload(ended) => {
                if let Some((_, outcome)) = &mut run {
                    outcome.take(ended, std::mem::take(&mut journal));
                }
            }
            Block::Ended(end) => {
                documents.extend(run.take().map(|(host, outcome)| outcome.document(host, end)));
            }
        }
    }
    documents
}
