//! Where the results of an observation go.

use iotrace_core::summary::Document;

use crate::bpf::exact::Refused;

/// Takes the results of an observation as they come.
pub trait Sink {
    /// Something that the user may want to know while it goes on.
    fn note(&mut self, text: &str);

    /// Something that the user must know at once, even if nobody watches.
    fn warn(&mut self, text: &str);

    /// The probes are attached.
    fn begin(&mut self, begun: &Begun<'_>);

    /// An interval is over. What cannot be written is told by [`Sink::wanted`], and does not end the observation.
    fn interval(&mut self, document: &Document);

    /// Whether somebody still gets results. If not, there is no reason to go on observing.
    fn wanted(&self) -> bool;

    /// Something that was to be kept beside the results could not be.
    fn failed(&mut self, text: &str);

    /// The observation is over, and this is all of it.
    fn end(&mut self, document: &Document);
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
