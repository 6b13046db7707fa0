//! The value of `--without`.

use iotrace_core::domain::ProbeId;

/// The probe of this name.
///
/// # Errors
/// Where there is none: the text lists those that there are.
pub fn probe(word: &str) -> Result<ProbeId, String> {
    ProbeId::by_name(word).ok_or_else(|| {
        let known: Vec<&str> = ProbeId::ALL.iter().map(|id| id.name()).collect();
        format!("there is no such probe; known are {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_probe_is_refused_with_those_that_there_are() {
        assert_eq!(probe("sk_data_ready"), Ok(ProbeId::SkDataReady));
        let text = probe("sk_data_redy").unwrap_err();
        assert!(ProbeId::ALL.iter().all(|id| text.contains(id.name())), "{text}");
    }
}
