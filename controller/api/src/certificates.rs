//! When the certificates end that only a person can replace, for probes and pages.
//!
//! Whoever holds a certificate tells here when it ends; nothing here reads or makes one.

use std::sync::{Arc, Mutex, PoisonError};

/// How long before the end people are told of the intermediate certificate: its successor is signed
/// by a key in a safe.
const INTERMEDIATE_WARNING_DAYS: i64 = 90;

/// The same for the browsers' certificate. The controller's own is renewed a month before its end, so
/// a shorter time means that the renewal fails or that it comes from files.
const WEB_WARNING_DAYS: i64 = 21;

const DAY_S: i64 = 86_400;

/// A certificate that can end while the controller runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificate {
    /// The authority's, which signs hosts.
    Intermediate,
    /// The browsers' port's.
    Web,
}

/// What is known of one.
#[derive(Debug, Clone, Default)]
struct Known {
    /// Unix seconds.
    ends_s: Option<i64>,
    /// Why its successor cannot be used, and since when, Unix milliseconds.
    unusable: Option<(i64, String)>,
}

/// The ends of the controller's certificates. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Certificates(Arc<Mutex<[Known; 2]>>);

/// Why a person must do something about a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Concern {
    /// `certificate_ends`, `certificate_ended` or `certificate_unusable`.
    pub(crate) code: &'static str,
    /// Since when, Unix milliseconds.
    pub(crate) since_ms: i64,
    /// Whole days until the end; negative after it.
    pub(crate) days_left: Option<i64>,
    /// For people.
    pub(crate) reason: String,
}

impl Certificates {
    /// Notes when the certificate in use ends, Unix seconds; a successor that could not be used is
    /// forgotten.
    pub fn ends(&self, which: Certificate, ends_s: Option<i64>) {
        self.change(which, |known| {
            *known = Known {
                ends_s,
                unusable: None,
            };
        });
    }

    /// Notes that a successor cannot be used and the certificate in use stays.
    pub fn unusable(&self, which: Certificate, now_ms: i64, reason: String) {
        self.change(which, |known| {
            let since_ms = known.unusable.as_ref().map_or(now_ms, |(since, _)| *since);
            known.unusable = Some((since_ms, reason));
        });
    }

    fn change(&self, which: Certificate, change: impl FnOnce(&mut Known)) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [intermediate, web] = &mut *all;
        match which {
            Certificate::Intermediate => change(intermediate),
            Certificate::Web => change(web),
        }
    }

    /// What people should know about one now.
    pub(crate) fn concern(&self, which: Certificate, now_ms: i64) -> Option<Concern> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [intermediate, web] = &*all;
        match which {
            Certificate::Intermediate => concern(intermediate, INTERMEDIATE_WARNING_DAYS, now_ms),
            Certificate::Web => concern(web, WEB_WARNING_DAYS, now_ms),
        }
    }
}

fn concern(known: &Known, warning_days: i64, now_ms: i64) -> Option<Concern> {
    let left_s = known.ends_s.map(|ends_s| ends_s - now_ms.div_euclid(1000));
    let days_left = left_s.map(|left_s| left_s.div_euclid(DAY_S));
    if let Some((since_ms, reason)) = &known.unusable {
        return Some(Concern {
            code: "certificate_unusable",
            since_ms: *since_ms,
            days_left,
            reason: reason.clone(),
        });
    }
    let (left_s, ends_s) = (left_s?, known.ends_s?);
    let near_s = warning_days * DAY_S;
    if left_s >= near_s {
        return None;
    }
    let has_ended = left_s < 0;
    let since_s = if has_ended { ends_s } else { ends_s - near_s };
    Some(Concern {
        code: if has_ended {
            "certificate_ended"
        } else {
            "certificate_ends"
        },
        since_ms: since_s * 1000,
        days_left,
        reason: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const END_S: i64 = 2_000_000_000;

    fn told(which: Certificate, left_s: i64) -> Option<(&'static str, Option<i64>)> {
        let certificates = Certificates::default();
        certificates.ends(which, Some(END_S));
        let concern = certificates.concern(which, (END_S - left_s) * 1000);
        concern.map(|concern| (concern.code, concern.days_left))
    }

    #[test]
    fn an_end_is_told_in_time_and_after_it() {
        let (intermediate, web) = (Certificate::Intermediate, Certificate::Web);
        assert_eq!(told(intermediate, 90 * DAY_S), None);
        let soon = |days| Some(("certificate_ends", Some(days)));
        assert_eq!(told(intermediate, 90 * DAY_S - 1), soon(89));
        assert_eq!(told(web, 21 * DAY_S), None);
        assert_eq!(told(web, 21 * DAY_S - 1), soon(20));
        assert_eq!(told(web, 0), soon(0));
        assert_eq!(told(web, -1), Some(("certificate_ended", Some(-1))));
    }

    #[test]
    fn a_successor_that_cannot_be_used_is_told_until_one_can() {
        let certificates = Certificates::default();
        certificates.ends(Certificate::Web, Some(END_S));
        certificates.unusable(Certificate::Web, 5, "no key".to_owned());
        certificates.unusable(Certificate::Web, 9, "other key".to_owned());
        let concern = certificates.concern(Certificate::Web, 10).unwrap();
        assert_eq!(
            (concern.code, concern.since_ms),
            ("certificate_unusable", 5)
        );
        assert_eq!(concern.reason, "other key");
        assert_eq!(certificates.concern(Certificate::Intermediate, 10), None);
        certificates.ends(Certificate::Web, Some(END_S));
        assert_eq!(certificates.concern(Certificate::Web, 10), None);
    }
}
