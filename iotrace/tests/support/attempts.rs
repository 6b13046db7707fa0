//! Repeating what something outside of the test may spoil: counted, limited, with its reason, and said, so that
//! `cargo xtask test` can add up how often that is. A test repeats in no other way.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Mutex, Once, PoisonError};

/// What was tried for a reason, by how many attempts are allowed.
type Counts = BTreeMap<(&'static str, u32), (u32, u32)>;

static COUNTS: Mutex<Counts> = Mutex::new(Counts::new());

/// Tries until it succeeds, `limit` times at most, and panics with what was wrong every time. `why` says what may
/// spoil an attempt; each is told its number, from 1 on.
pub fn until<T>(limit: u32, why: &'static str, mut attempt: impl FnMut(u32) -> Result<T, String>) -> T {
    let mut wrong = Vec::new();
    for made in 1..=limit {
        match attempt(made) {
            Ok(done) => {
                count(made, 1, limit, why);
                return done;
            }
            Err(what) => wrong.push(what),
        }
    }
    count(limit, 0, limit, why);
    panic!("{why}, but not {limit} times in a row: {}", wrong.join("\n\n"));
}

/// Counts attempts, and those of them that passed. One that had to be repeated is said at once.
pub fn count(made: u32, passed: u32, limit: u32, why: &'static str) {
    static AT_EXIT: Once = Once::new();
    // SAFETY: `tell` takes nothing and does not unwind. A forked child that must not tell ends by `_exit`.
    AT_EXIT.call_once(|| assert_eq!(unsafe { libc::atexit(tell) }, 0));
    let mut counts = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    let sum = counts.entry((why, limit)).or_default();
    *sum = (sum.0 + made, sum.1 + passed);
    if made != passed {
        say(&format!("repeated: {passed} passed in {made} attempts of {limit} allowed: {why}"));
    }
}

/// The sums, in the form that xtask/src/tally.rs reads.
extern "C" fn tell() {
    for ((why, limit), (made, passed)) in &*COUNTS.lock().unwrap_or_else(PoisonError::into_inner) {
        say(&format!("attempts: {made} made, {passed} passed, {limit} allowed: {why}"));
    }
}

/// Past libtest, which shows what a test prints only when it fails.
fn say(line: &str) {
    // In one piece, as others write there as well. Nothing is lost but the count where nobody listens.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
