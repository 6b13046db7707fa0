//! Where the results of an observation go.

use iotrace_core::summary::Document;

use crate::bpf::exact::Refused;
use crate::session::error::Failure;

/// Takes the results of an observation as they come.
pub trait Sink {
    /// Something that the user may want to know while it goes on.
    fn note(&mut self, text: &str);

    /// Something that the user must know at once, even if nobody watches.
    fn warn(&mut self, text: &str);

    /// Something that is said whatever the user does not want to hear: tracing ended, and not as asked for.
    fn must_say(&mut self, text: &str);

    /// The probes are attached.
    fn begin(&mut self, begun: &Begun<'_>);

    /// An interval is over.
    ///
    /// # Errors
    /// Of writing it; the observation ends then.
    fn interval(&mut self, document: &Document) -> Result<(), Failure>;

    /// The observation is over, and this is all of it.
    ///
    /// # Errors
    /// Of writing it.
    fn end(&mut self, document: &Document) -> Result<(), Failure>;
}

/// What is known when the probes are attached.
pub struct Begun<'a> {
    /// The workload that is observed, if one of several.
    pub workload: Option<&'a str>,
    /// What is observed, in a few words.
    pub about: &'a str,
    /// Names of the tracepoints and functions that are attached.
    pub attached: Vec<&'static str>,
    /// How long attaching took.
    pub took: std::time::Duration,
    /// Why function hooks do not time the copies, where they were tried.
    pub refused: Option<&'a Refused>,
}
