//! Tells people in time that the intermediate certificate ends.
//!
//! Nothing renews it by itself: its successor is signed by the root key, which lies in a safe. When it
//! ends, no host can enrol or renew any more. It changes only while the controller is stopped.

use anyhow::{Context as _, Result};
use prometheus::{IntGauge, Registry};
use tracing::warn;
use xiezhi_identity::Authority;

/// How long before the end the warnings begin: time enough to find who may open the safe.
const WARN_DAYS: i64 = 90;

const DAY_S: i64 = 86_400;

/// Registers the end as a gauge, so that a rule can watch it from any distance.
///
/// # Errors
/// If a gauge of the same name is registered already.
pub(crate) fn register(registry: &Registry, authority: &Authority) -> Result<()> {
    let gauge = IntGauge::new(
        "xiezhi_authority_intermediate_expires_seconds",
        "When the intermediate certificate ends, Unix seconds.",
    )
    .context("making the gauge of the authority")?;
    gauge.set(authority.intermediate_not_after_s());
    registry
        .register(Box::new(gauge))
        .context("registering the gauge of the authority")
}

/// Writes a warning into the log if the end is near.
pub(crate) fn warn_if_near(authority: &Authority, now_s: i64) {
    let Some(days_left) = days_left(authority.intermediate_not_after_s(), now_s) else {
        return;
    };
    warn!(
        days_left,
        "the intermediate certificate ends soon, and with it enrolment and renewal: fetch the root \
         key and run `xiezhi-controller ca rotate --offline-dir FOLDER`, then restart the controller"
    );
}

/// Whole days until `not_after_s` if people must be warned; 0 or less on the last day and after it.
fn days_left(not_after_s: i64, now_s: i64) -> Option<i64> {
    let left = not_after_s.saturating_sub(now_s).div_euclid(DAY_S);
    (left < WARN_DAYS).then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use xiezhi_identity::{KeyPlace, Passphrase, Passphrases};

    #[test]
    fn people_are_warned_from_ninety_days_before_the_end_and_after_it() {
        let end = 2_000_000_000;
        assert_eq!(days_left(end, end - 90 * DAY_S), None);
        assert_eq!(days_left(end, end - 90 * DAY_S + 1), Some(89));
        assert_eq!(days_left(end, end - 1), Some(0));
        assert_eq!(days_left(end, end + 1), Some(-1));
    }

    #[test]
    fn the_gauge_is_the_date_of_the_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let (online, offline) = (folder.path().join("online"), folder.path().join("offline"));
        let passphrases = Passphrases {
            offline: Passphrase::random().unwrap(),
            online: Passphrase::random().unwrap(),
        };
        let now_s = crate::clock::now_s();
        let place = KeyPlace::SealedFile;
        let made = Authority::init_in(&online, &offline, &passphrases, &place, &[], now_s).unwrap();
        let authority = Authority::open(&online, &passphrases.online, now_s).unwrap();
        let registry = Registry::new();
        register(&registry, &authority).unwrap();
        let families = registry.gather();
        assert_eq!(
            families[0].name(),
            "xiezhi_authority_intermediate_expires_seconds"
        );
        let shown = families[0].get_metric()[0].get_gauge().get_value();
        assert_eq!(shown, made.intermediate_not_after_s as f64);
    }
}
