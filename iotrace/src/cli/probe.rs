//! The value of `--without`.

use iotrace_core::domain::ProbeId;

/// The probe of this name.
///
/// # Errors
/// Where there is none: the text lists those that there are.
pub fn probe(word: &str) -> Result<ProbeId, String> {
    ProbeId::by_name(word).ok_or_else(|| {
        let known: Vec<&str> = ProbeId::ALL.iter().map(|id| id.name()).collect();
        let near = nearest(word, &known).map_or(String::new(), |near| format!(" (did you mean {near}?)"));
        format!("there is no such probe{near}; known are {}", known.join(", "))
    })
}

/// The name that is most like a word, if one is like it at all: by the measure and the limit that clap has for options.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let like = known.iter().map(|name| (strsim::jaro(word, name), *name));
    let (likeness, name) = like.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (likeness > 0.7).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_probe_is_refused_with_those_that_there_are() {
        assert_eq!(probe("sk_data_ready"), Ok(ProbeId::SkDataReady));
        let text = probe("sk_data_redy").unwrap_err();
        assert!(ProbeId::ALL.iter().all(|id| text.contains(id.name())), "{text}");
        assert!(text.contains("did you mean sk_data_ready?"), "{text}");
        assert!(!probe("???").unwrap_err().contains("did you mean"));
    }
}
