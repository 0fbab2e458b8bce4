//! What is unwell of the samples that are stored: what was left out, what is damaged, what went.
//!
//! It asks the store, which knows; nothing is read from a disk for it.

use xiezhi_model::HostId;
use xiezhi_series::WithoutSteps;

use super::{Ailment, Part};
use crate::state::AppState;

/// For how long it is shown that samples went without steps: nobody can mend it, but it must not pass unseen.
const WITHOUT_STEPS_MS: i64 = 86_400_000;

/// Samples went for their age without steps: the disk had no room for these, or never gave the samples.
pub(super) fn without_steps(lost: WithoutSteps, now_ms: i64) -> Option<Ailment> {
    let is_new = now_ms.saturating_sub(lost.last_ms) < WITHOUT_STEPS_MS;
    is_new.then(|| Ailment {
        part: Part::Sealing,
        code: "without_steps",
        since_ms: lost.since_ms,
        days_left: None,
        reason: format!(
            "the samples of {} files went for their age without steps, for which the disk had no room, or which \
             it refused to read; the controller's log names them",
            lost.files
        ),
    })
}

/// Hosts that a person is told of by name; the others are counted.
const NAMED_HOSTS: usize = 10;

/// Characters of a series that are shown.
const SHOWN_OF_SERIES: usize = 200;

/// Which hosts report series beyond a limit, which limit, and one of the series.
pub(super) fn left_out(state: &AppState) -> Option<Ailment> {
    let all = state.inner.series.left_out();
    let since_ms = all.iter().map(|one| one.since_ms).min()?;
    let named = all.iter().take(NAMED_HOSTS).map(|one| {
        let host = state.inner.fleet.get(HostId(one.host));
        let name = host.map_or_else(|| format!("host {}", one.host), |host| host.hostname);
        let (series, limit) = (one.series, one.limit);
        let example: String = one.example.chars().take(SHOWN_OF_SERIES).collect();
        format!("{name}: {series} series beyond `series.limits.{limit}`, such as {example}")
    });
    let mut reason = named.collect::<Vec<_>>().join("; ");
    if let more @ 1.. = all.len().saturating_sub(NAMED_HOSTS) {
        reason.push_str(&format!("; and {more} hosts more"));
    }
    Some(Ailment {
        part: Part::Series,
        code: "left_out",
        since_ms,
        days_left: None,
        reason,
    })
}

/// Files that a person is told of by name; the others are counted.
const NAMED_FILES: usize = 10;

/// What of the stored samples cannot be served, as far as this controller has met it.
pub(super) fn damaged(state: &AppState, since_ms: i64) -> Option<Ailment> {
    let met = state.inner.series.damage_met();
    if met.is_none() {
        return None;
    }
    // What comes back by itself is nothing that a person has to restore.
    let code = if met.only_waits() {
        "refused"
    } else {
        "damaged"
    };
    let (places, frames) = (met.places, met.undecoded_frames);
    let mut reason =
        format!("damaged places met: {places}; frames that cannot be decoded: {frames}");
    let told = [
        ("files set aside", met.set_aside),
        (
            "files that the disk refuses to read, kept and asked for again",
            met.refused,
        ),
    ];
    for (what, files) in told.into_iter().filter(|(_, files)| !files.is_empty()) {
        let named = files.get(..NAMED_FILES.min(files.len()));
        let named = named.unwrap_or_default().join(" ");
        reason.push_str(&format!("; {what}: {} ({named})", files.len()));
    }
    if met.is_unlisted {
        reason.push_str("; the folder of samples cannot be listed");
    }
    Some(Ailment {
        part: Part::Stored,
        code,
        since_ms,
        days_left: None,
        reason,
    })
}

/// What is named as a file of samples and is none.
pub(super) fn strays(state: &AppState, since_ms: i64) -> Option<Ailment> {
    let strays = state.inner.series.damage_met().strays;
    if strays.is_empty() {
        return None;
    }
    Some(Ailment {
        part: Part::Stored,
        code: "stray",
        since_ms,
        days_left: None,
        reason: format!(
            "named as files of samples, but none of them: {} ({})",
            strays.len(),
            strays
                .get(..NAMED_FILES.min(strays.len()))
                .unwrap_or_default()
                .join(" ")
        ),
    })
}

/// Whether the newest samples follow those before by days.
pub(super) fn jumped(state: &AppState, since_ms: i64) -> Option<Ailment> {
    let newest_ms = state.inner.series.doubted_arrival_ms()?;
    Some(Ailment {
        part: Part::Clock,
        code: "jumped",
        since_ms,
        days_left: None,
        reason: format!(
            "samples arrived at Unix time {} s by this clock, days after those before; none is removed for \
             its age until a day of them is there",
            newest_ms / 1000
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_that_went_without_steps_are_told_of_for_a_day_after_the_last() {
        let lost = WithoutSteps {
            files: 3,
            since_ms: 1_000,
            last_ms: 90_000_000,
        };
        let told = without_steps(lost, 90_000_001).unwrap();
        assert_eq!((told.part, told.code), (Part::Sealing, "without_steps"));
        assert_eq!(told.since_ms, 1_000);
        assert!(told.reason.contains("3 files"), "{}", told.reason);
        assert!(without_steps(lost, 90_000_000 + WITHOUT_STEPS_MS - 1).is_some());
        assert!(without_steps(lost, 90_000_000 + WITHOUT_STEPS_MS).is_none());
    }
}
