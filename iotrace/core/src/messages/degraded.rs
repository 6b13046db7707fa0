//! What a run does not measure where a probe is missing: `null` in the result, never the zero of an empty count.

use crate::domain::ProbeId;
use crate::summary::Run;

/// Takes out of `run` every figure that needs one of the probes in `missing`.
pub fn forget(run: &mut Run, missing: &[ProbeId]) {
    for probe in missing {
        if let Some(signals) = &mut run.operations.signals {
            match *probe {
                ProbeId::SignalGenerate => {
                    (signals.generated, signals.coalesced, signals.not_queued) = (None, None, None);
                    (signals.ready_to_generated, signals.generated_to_delivered) = (None, None);
                }
                ProbeId::SignalDeliver => {
                    signals.delivered = None;
                    (signals.generated_to_delivered, signals.delivered_to_read) = (None, None);
                }
                _ => {}
            }
        }
        let Some(requests) = run.operations.requests.as_mut().filter(|_| run.model.is_io_uring()) else {
            continue;
        };
        match *probe {
            // A request is counted when it is complete, by what it went through since it was submitted.
            ProbeId::IoUringSubmitReq | ProbeId::IoUringComplete => {
                (requests.inline, requests.polled, requests.worker) = (None, None, None);
            }
            // Inline is what was neither polled nor handed over.
            ProbeId::IoUringPollArm => (requests.inline, requests.polled) = (None, None),
            ProbeId::IoUringQueueAsyncWork => {
                (requests.inline, requests.polled, requests.worker) = (None, None, None);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn what_a_missing_probe_would_tell_is_null_and_all_else_stays() {
        let whole = sample::sigio();
        let mut run = whole.clone();
        forget(&mut run, &[ProbeId::SkDataReady]);
        assert_eq!(run, whole);
        forget(&mut run, &[ProbeId::SignalGenerate]);
        let (had, signals) =
            (whole.operations.signals.as_ref().unwrap(), run.operations.signals.as_ref().unwrap());
        assert_eq!((signals.generated, signals.coalesced, signals.not_queued), (None, None, None));
        assert!(had.delivered.is_some() && signals.delivered == had.delivered);
        assert_eq!(signals.handler_runs, had.handler_runs, "the application's own count");
    }

    #[test]
    fn requests_lose_what_their_events_told() {
        let mut run = sample::sqpoll();
        let had = run.operations.requests.clone().unwrap();
        assert!(had.inline.is_some() && had.polled.is_some());
        forget(&mut run, &[ProbeId::IoUringPollArm]);
        let requests = run.operations.requests.as_ref().unwrap();
        assert_eq!((requests.inline, requests.polled), (None, None));
        assert_eq!((requests.worker, requests.submitted), (had.worker, had.submitted));
        forget(&mut run, &[ProbeId::IoUringComplete]);
        assert_eq!(run.operations.requests.as_ref().unwrap().worker, None);
    }
}
